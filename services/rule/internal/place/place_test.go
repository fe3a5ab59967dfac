package place_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wxbus/wxbus/services/rule/internal/place"
)

func TestDistancesAreThoseOfTheMap(t *testing.T) {
	// Tian'anmen to the Oriental Pearl Tower is about 1 068 km.
	require.InDelta(t, 1_068_000, place.Distance(39.9087, 116.3975, 31.2397, 121.4998), 3_000)
	require.InDelta(t, 111_195, place.Distance(0, 0, 1, 0), 1)
	require.InDelta(t, 22_239, place.Distance(0, 179.9, 0, -179.9), 1, "across the date line")
}

func TestTheNearestPlaceIsTheOneThatTryingAllFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		position := func(label string) (float64, float64) {
			return rapid.Float64Range(-90, 90).Draw(t, label+" latitude"), rapid.Float64Range(-180, 180).Draw(t, label+" longitude")
		}
		places := make([]place.Place, rapid.IntRange(0, 30).Draw(t, "places"))
		for i := range places {
			places[i].Latitude, places[i].Longitude = position("place")
		}
		latitude, longitude := position("fan")
		got, distance := place.NewTable(places).Nearest(latitude, longitude)
		if len(places) == 0 {
			if got != nil {
				t.Fatal("found a place in an empty table")
			}
			return
		}
		for _, p := range places {
			// To a pole every way is as long as the difference in latitude, but for the rounding.
			if d := place.Distance(latitude, longitude, p.Latitude, p.Longitude); d < distance-0.001 {
				t.Fatalf("%v at %.0f m is nearer than %v at %.0f m", p, d, got, distance)
			}
		}
	})
}

func TestOnlyPositionsOnEarthAreValid(t *testing.T) {
	require.True(t, place.Valid(-90, 180))
	require.False(t, place.Valid(90.1, 0))
	require.False(t, place.Valid(0, -180.1))
}
