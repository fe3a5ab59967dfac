package wechat_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/pkg/wechat"
)

var dedupeKeyForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func key(t testing.TB, body string) string { return parse(t, body).DedupeKey("main") }

// TestDedupeKeyIsStable pins keys: they are stored, so a change loses the identity of pushes in flight.
func TestDedupeKeyIsStable(t *testing.T) {
	require.Equal(t, "de927c830e7a81cb3524bd9bc6d55058", key(t, string(readVector(t, "inbound/chanxuehong_365_text.xml"))))
	require.Equal(t, "2dfd9428853a52e68f185496c943b24a", key(t, string(readVector(t, "inbound/chanxuehong_363_event_scan.xml"))))
	require.Equal(t, "5e599066a85afde6c3cf6482fe45bbd6", key(t, `{"FromUserName":"o","MsgType":"text","Content":"x","CreateTime":1}`))
}

// TestDedupeKeysOfVectors: different pushes have different keys, the same push in another dress has
// the same one.
func TestDedupeKeysOfVectors(t *testing.T) {
	seen := make(map[string]string)
	for _, v := range vectors(t) {
		if v.Kind != "inbound" && v.Kind != "synthetic" && v.Kind != "thirdparty" {
			continue
		}
		p := parse(t, string(readVector(t, v.File)))
		k := p.DedupeKey("main")
		require.Regexp(t, dedupeKeyForm, k)
		require.NotEqual(t, k, p.DedupeKey("other"), "scoped by account")
		// The manifest has pushes of several repositories that are the same push.
		identity := fmt.Sprint(p.FromUserName, p.CreateTime, p.MsgType, p.MsgID)
		if p.MsgType == "event" || p.MsgID == "" {
			// A list of one is the same as its only element.
			identity = strings.NewReplacer("[", "", "]", "").Replace(fmt.Sprint(identity, p.Event, p.EventKey, p.Ticket, remaining(p)))
		}
		if other, ok := seen[k]; ok {
			require.Equal(t, other, identity, v.File)
		}
		seen[k] = identity
	}
	require.Greater(t, len(seen), 90)
}

// TestDedupeKeyIgnoresForm shuffles the elements of a push, puts blanks and comments between them,
// changes the way of writing values and the format: the key stays.
func TestDedupeKeyIgnoresForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := genFields(t)
		want := keyOf(t, writeXML(t, fields, false))
		require.Equal(t, want, keyOf(t, writeXML(t, rapid.Permutation(fields).Draw(t, "order"), true)))
		require.Equal(t, want, keyOf(t, writeJSON(fields)))
	})
}

// TestDedupeKeySeesEveryField changes one field of a push: the key changes.
func TestDedupeKeySeesEveryField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := genFields(t)
		before := keyOf(t, writeXML(t, fields, false))
		i := rapid.IntRange(0, len(fields)-1).Draw(t, "changed")
		if fields[i].name == "MsgType" {
			return
		}
		changed := append([]pushField(nil), fields...)
		changed[i].value += "1"
		require.NotEqual(t, before, keyOf(t, writeXML(t, changed, false)), fields[i].name)
	})
}

type pushField struct{ name, value string }

// genFields returns an event, or a message without MsgId, whose every field is part of its identity.
func genFields(t *rapid.T) []pushField {
	value := rapid.StringMatching(`[a-z0-9]{1,12}`)
	fields := []pushField{
		{"FromUserName", value.Draw(t, "from")},
		{"CreateTime", strconv.Itoa(rapid.IntRange(1, 1<<31).Draw(t, "time"))},
	}
	if rapid.Bool().Draw(t, "event") {
		fields = append(fields, pushField{"MsgType", "event"}, pushField{"Event", value.Draw(t, "event name")},
			pushField{"EventKey", value.Draw(t, "key")}, pushField{"Ticket", value.Draw(t, "ticket")})
	} else {
		fields = append(fields, pushField{"MsgType", "text"}, pushField{"Content", value.Draw(t, "content")})
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "extra") {
		fields = append(fields, pushField{"Extra" + strconv.Itoa(i), value.Draw(t, "value")})
	}
	return fields
}

func keyOf(t *rapid.T, body string) string {
	p, err := wechat.Parse([]byte(body), wechat.Limits{})
	require.NoError(t, err)
	return p.DedupeKey("main")
}

func writeXML(t *rapid.T, fields []pushField, dressed bool) string {
	var b strings.Builder
	b.WriteString("<xml>")
	for _, f := range fields {
		value := f.value
		if dressed {
			b.WriteString(rapid.SampledFrom([]string{"", "\n", "  ", "<!-- x -->"}).Draw(t, "between"))
			value = rapid.SampledFrom([]string{value, "<![CDATA[" + value + "]]>", "\n<![CDATA[" + value + "]]> "}).Draw(t, "dress")
		}
		fmt.Fprintf(&b, "<%s>%s</%s>", f.name, value, f.name)
	}
	if dressed {
		b.WriteString("<ToUserName>gh_other</ToUserName><Encrypt>random</Encrypt><Absent></Absent>")
	}
	b.WriteString("</xml>")
	return b.String()
}

func writeJSON(fields []pushField) string {
	var members []string
	for _, f := range fields {
		members = append(members, fmt.Sprintf("%q:%q", f.name, f.value))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestDedupeKeyOfMessages(t *testing.T) {
	first := key(t, message("text", "<Content>a</Content>"))
	require.Equal(t, first, key(t, message("text", "<Content>b</Content>")), "MsgId identifies a message")
	require.NotEqual(t, first, key(t, strings.Replace(message("text", ""), "o_x", "o_y", 1)), "two fans can have the same MsgId")
	require.NotEqual(t, first, key(t, strings.Replace(message("text", ""), "1700000000", "1700000001", 1)))
}

func TestDedupeKeyOfEventsInOneSecond(t *testing.T) {
	keys := map[string]bool{}
	events := []string{
		event("CLICK", "<EventKey>A</EventKey>"), event("CLICK", "<EventKey>B</EventKey>"),
		event("VIEW", "<EventKey>A</EventKey>"), event("CLICK", "<EventKey>A</EventKey><Ticket>T</Ticket>"),
		event("SCAN", "<EventKey>A</EventKey>"), event("TEMPLATESENDJOBFINISH", "<MsgID>1</MsgID>"),
		event("TEMPLATESENDJOBFINISH", "<MsgID>2</MsgID>"), event("TEMPLATESENDJOBFINISH", "<MsgID>2</MsgID><Status>success</Status>"),
		event("x", "<L><T>1</T></L><L><T>2</T></L>"), event("x", "<L><T>1</T></L><L><T>1</T></L>"),
		event("x", "<L><T>1</T></L>"), event("x", "<L><T>2</T></L>"), event("x", "<L><U>1</U></L>"), event("x", "<T>1</T>"),
	}
	for _, e := range events {
		keys[key(t, e)] = true
	}
	require.Len(t, keys, len(events))
	require.Equal(t, key(t, event("CLICK", "<EventKey>A</EventKey>")), key(t, event("click", "<EventKey> A </EventKey>")))
	require.Equal(t, key(t, event("x", "<L><T>1</T></L><L><T>2</T></L>")), key(t, event("x", "<L><T>2</T></L><L><T>1</T></L>")))
}
