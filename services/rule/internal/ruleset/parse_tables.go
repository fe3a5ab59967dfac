package ruleset

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wxbus/wxbus/services/rule/internal/place"
	"github.com/wxbus/wxbus/services/rule/internal/template"
	"github.com/wxbus/wxbus/services/rule/internal/worktime"
)

// maxDates bounds the lists of a calendar.
const maxDates = 400

// placeFields are the variables of a place that have a column of their own, or are computed.
var placeFields = []string{"name", "address", "latitude", "longitude", "distance"}

// tables calls read for each entry of a mapping of tables.
func (f *fileReader) tables(a at, read func(name string, a at)) {
	known := map[string]func(at){}
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		name := a.node.Content[i].Value
		if name == "" || utf8.RuneCountInString(name) > maxWordRunes {
			f.refuse(at{a.node.Content[i], a.path}, "a table needs a name of 1 to %d characters", maxWordRunes)
		}
		known[name] = func(a at) { read(name, a) }
	}
	if len(known) > MaxTables {
		f.refuse(a, "has %d tables, at most %d are allowed", len(known), MaxTables)
		return
	}
	f.fields(a, known)
}

// places reads tables of places.
func (f *fileReader) places(a at) {
	f.result.Places = map[string][]place.Place{}
	f.tables(a, func(name string, a at) {
		var table []place.Place
		f.items(a, place.MaxPlaces, func(a at) { table = append(table, f.place(a)) })
		if len(table) == 0 {
			f.refuse(a, "must hold at least one place")
		}
		f.result.Places[name] = table
	})
}

// place reads one place; what has no meaning of its own is a variable of templates.
func (f *fileReader) place(a at) place.Place {
	p := place.Place{}
	known := map[string]func(at){
		"name": f.into(&p.Name, maxTitle), "address": f.into(&p.Address, maxTitle),
		"latitude":  func(a at) { p.Latitude = f.degrees(a, 90) },
		"longitude": func(a at) { p.Longitude = f.degrees(a, 180) },
	}
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		key := a.node.Content[i].Value
		if _, ok := known[key]; ok || !template.IsName(key) || key == "distance" || len(p.Fields) >= 20 {
			continue // distance is computed; a key that is no name is refused as unknown
		}
		known[key] = func(a at) {
			var value string
			f.into(&value, maxTitle)(a)
			if p.Fields == nil {
				p.Fields = map[string]string{}
			}
			p.Fields[key] = value
		}
	}
	f.fields(a, known)
	f.needs(a, "name", p.Name)
	if p.Latitude == 0 && p.Longitude == 0 {
		f.needs(a, "latitude", "")
	}
	return p
}

func (f *fileReader) degrees(a at, most float64) float64 {
	text, ok := f.text(a)
	value, err := strconv.ParseFloat(text, 64)
	if ok && (err != nil || !(value >= -most && value <= most)) {
		f.refuse(a, "must be degrees from -%[1]v to %[1]v, for example 39.9087", most)
		return 0
	}
	return value
}

// calendars reads working times.
func (f *fileReader) calendars(a at) {
	f.result.Calendars = map[string]worktime.Calendar{}
	f.tables(a, func(name string, a at) {
		var c worktime.Calendar
		f.fields(a, map[string]func(at){
			"timezone": func(a at) { c.Zone = f.zone(a) },
			"weekdays": func(a at) { c.Weekdays = f.weekdays(a) },
			"hours":    func(a at) { c.Hours = f.hours(a) },
			"holidays": func(a at) { c.Holidays = f.dates(a) },
			"workdays": func(a at) { c.Workdays = f.dates(a) },
		})
		clock, err := worktime.NewClock(c)
		if err != nil {
			return // refused where it stands
		}
		f.result.Calendars[name], f.clocks[name] = c, clock
	})
}

func (f *fileReader) zone(a at) string {
	text, ok := f.text(a)
	if _, err := worktime.Zone(text); ok && err != nil {
		f.refuse(a, "%v", err)
		return ""
	}
	return text
}

func (f *fileReader) weekdays(a at) worktime.Weekdays {
	var days worktime.Weekdays
	f.parsed(a, 7, func(text string) error {
		more, err := worktime.ParseWeekdays(text)
		days |= more
		return err
	})
	return days
}

func (f *fileReader) hours(a at) (spans []worktime.Span) {
	f.parsed(a, 20, func(text string) error {
		span, err := worktime.ParseSpan(text)
		spans = append(spans, span)
		return err
	})
	return spans
}

func (f *fileReader) dates(a at) (dates []worktime.Dates) {
	f.parsed(a, maxDates, func(text string) error {
		d, err := worktime.ParseDates(text)
		dates = append(dates, d)
		return err
	})
	return dates
}

// parsed reads a list of texts, or one text, and refuses those that parse refuses.
func (f *fileReader) parsed(a at, most int, parse func(string) error) {
	f.each(a, f.texts(a, most), parse)
}

var errRadius = errors.New("must be a distance above zero like 500m or 5km, at most 1000km")

// radius reads a distance in metres.
func radius(text string) (float64, error) {
	number, unit := strings.TrimSuffix(text, "m"), 1.0
	if kilo, ok := strings.CutSuffix(number, "k"); ok {
		number, unit = kilo, 1000
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !strings.HasSuffix(text, "m") || !(value > 0) || value*unit > 1_000_000 {
		return 0, errRadius
	}
	return value * unit, nil
}

// near reads the position that a rule wants.
func (f *fileReader) near(a at, rule *Rule) {
	near := &Near{}
	f.fields(a, map[string]func(at){
		"places": func(a at) {
			near.Places, _ = f.text(a)
			if _, ok := f.result.Places[near.Places]; !ok {
				f.refuse(a, "there is no table %q under places at the top of the file", near.Places)
			}
		},
		"within": func(a at) {
			text, ok := f.text(a)
			var err error
			if near.Within, err = radius(text); ok && err != nil {
				f.refuse(a, "%v", err)
			}
		},
	})
	f.needs(a, "places", near.Places)
	rule.Match.Near = near
	f.carriedBy(a, rule, hasPosition, "has no position; near is for location, location_select and location_report")
}

// scenes reads scenes of QR codes: a list of whole ones, or lists under exact and prefix.
func (f *fileReader) scenes(a at, rule *Rule) {
	m := &rule.Match
	list := func(into *[]string) func(at) {
		return func(a at) {
			*into = f.texts(a, maxPatterns)
			f.each(a, *into, checkScene)
		}
	}
	before := f.mistakes()
	switch {
	case isMapping(a):
		f.fields(a, map[string]func(at){"exact": list(&m.Scenes), "prefix": list(&m.ScenePrefixes)})
	default:
		list(&m.Scenes)(a)
	}
	if len(m.Scenes)+len(m.ScenePrefixes) == 0 && f.mistakes() == before {
		f.refuse(a, "must name a scene, or scenes under exact and prefix")
	}
	f.carriedBy(a, rule, hasScene, "has no scene; scene is for subscribe and scan")
}

// checkScene refuses what is no scene: WeChat allows 64 characters.
func checkScene(text string) error {
	switch {
	case strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > 64:
		return errors.New("must have 1 to 64 characters that are not all blank")
	case strings.HasPrefix(text, scenePrefix):
		return fmt.Errorf("is written without %s, which WeChat puts before the scene of a follow", scenePrefix)
	default:
		return nil
	}
}

// mediaKinds reads kinds of media, alone or with a format.
func (f *fileReader) mediaKinds(a at, rule *Rule) {
	rule.Match.Media = f.texts(a, 20)
	f.each(a, rule.Match.Media, func(text string) error {
		kind, format, has := strings.Cut(text, "/")
		formats, ok := mediaKinds[kind]
		if !ok || has && (!formats || format == "" || format != strings.ToLower(format)) {
			return errors.New("must be image, voice, video, shortvideo or file; a voice and a file may have a format in lower case, like voice/amr and file/pdf")
		}
		return nil
	})
	f.carriedBy(a, rule, hasMedia, "has no media; use any_message or the kinds of media themselves")
}

// carriedBy refuses what a kind of the rule can never match.
func (f *fileReader) carriedBy(a at, rule *Rule, has func(kind string) bool, why string) {
	for _, kind := range rule.On {
		if !has(kind) && isKind(kind) {
			f.refuse(a, "%s %s", kind, why)
		}
	}
}
