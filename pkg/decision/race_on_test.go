//go:build race

package decision_test

// raceEnabled makes the model smaller: it has no concurrency, and the detector makes it ten times slower.
const raceEnabled = true
