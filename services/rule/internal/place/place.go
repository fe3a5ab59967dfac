// Package place finds the nearest of a table of places.
package place

import (
	"cmp"
	"math"
	"slices"
)

// MaxPlaces bounds a table.
const MaxPlaces = 20_000

// Place is one row of a table. Coordinates are those of WeChat's location messages (GCJ-02).
type Place struct {
	Name      string
	Address   string
	Latitude  float64
	Longitude float64
	// Fields are further values for templates, by name.
	Fields map[string]string
}

// Table is an immutable set of places. It is safe for concurrent use.
type Table struct {
	places []Place // by latitude
}

// NewTable returns a table of places, which it keeps.
func NewTable(places []Place) *Table {
	sorted := slices.Clone(places)
	slices.SortStableFunc(sorted, func(a, b Place) int { return cmp.Compare(a.Latitude, b.Latitude) })
	return &Table{places: sorted}
}

const (
	earthRadius = 6_371_000 // metres
	radian      = math.Pi / 180
	// perDegree is the distance between two degrees of latitude in metres.
	perDegree = earthRadius * radian
)

// Nearest returns the place that is nearest to a position and the distance in metres, or nil for an
// empty table. It looks at the places north and south of the position until a difference in latitude alone is
// farther than the best one.
func (t *Table) Nearest(latitude, longitude float64) (*Place, float64) {
	var best *Place
	distance := math.Inf(1)
	north, _ := slices.BinarySearchFunc(t.places, latitude, func(p Place, l float64) int { return cmp.Compare(p.Latitude, l) })
	south := north - 1
	look := func(i int) bool {
		p := &t.places[i]
		if math.Abs(p.Latitude-latitude)*perDegree > distance {
			return false
		}
		if d := Distance(latitude, longitude, p.Latitude, p.Longitude); d < distance {
			best, distance = p, d
		}
		return true
	}
	for more := true; more; {
		more = false
		if north < len(t.places) && look(north) {
			north++
			more = true
		}
		if south >= 0 && look(south) {
			south--
			more = true
		}
	}
	return best, distance
}

// Distance returns the distance between two positions in metres.
func Distance(latitude1, longitude1, latitude2, longitude2 float64) float64 {
	sinLatitude := math.Sin((latitude2 - latitude1) * radian / 2)
	sinLongitude := math.Sin((longitude2 - longitude1) * radian / 2)
	h := sinLatitude*sinLatitude + math.Cos(latitude1*radian)*math.Cos(latitude2*radian)*sinLongitude*sinLongitude
	return 2 * earthRadius * math.Asin(math.Sqrt(min(h, 1)))
}

// Valid tells whether there is such a position.
func Valid(latitude, longitude float64) bool {
	return latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180
}
