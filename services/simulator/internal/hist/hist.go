// Package hist counts durations with a bounded relative error in bounded memory.
package hist

import (
	"math"
	"math/bits"
	"time"
)

const (
	subBits = 6 // 64 steps per power of two: a value is off by at most 1.6 %
	sub     = 1 << subBits
	buckets = (41 - subBits) * sub // microseconds up to 2^40, about 12 days
)

// Histogram counts durations from 1 µs to about 12 days in log-linear steps. The zero value is ready.
// It is not safe for concurrent use.
type Histogram struct {
	counts   []uint64
	n        uint64
	min, max time.Duration
	sum      time.Duration
}

// Record counts one duration. Values below 1 µs count as 1 µs, values above the range as the last step.
func (h *Histogram) Record(d time.Duration) {
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	h.counts[index(d)]++
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.sum += d
	h.n++
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Max returns the largest recorded duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Min returns the smallest recorded duration, exactly.
func (h *Histogram) Min() time.Duration { return h.min }

// Mean returns the average, or zero without any value.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return h.sum / time.Duration(h.n)
}

// Quantile returns the duration below or at which the share q (0 to 1) of the values lies.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	var seen uint64
	for i, c := range h.counts {
		seen += c
		if seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Clone returns an independent copy.
func (h *Histogram) Clone() Histogram {
	c := *h
	c.counts = append([]uint64(nil), h.counts...)
	return c
}

func index(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	if us < sub {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	i := (shift+1)*sub + int(us>>shift) - sub
	return min(i, buckets-1)
}

// upper is the largest duration that falls into step i.
func upper(i int) time.Duration {
	if i < sub {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/sub - 1
	us := (uint64(i%sub+sub+1) << shift) - 1
	return time.Duration(us) * time.Microsecond
}
