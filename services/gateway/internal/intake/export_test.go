package intake

import (
	"context"
	"time"
)

// Held tells whether a push would go to the spill stream first, and why.
func (a *Away) Held(subject, id string) error {
	_, err := a.hold(subject, id)
	return err
}

// Strict tells whether a push would go to the spill stream and nowhere else.
func (a *Away) Strict(subject, id string) bool {
	held, _ := a.hold(subject, id)
	return held == spillOnly
}

// Learn is what a Lookout tells after it asked at a moment.
func (a *Away) Learn(asked time.Time, last, floor, waiting uint64) {
	a.learn(spillState{asked: asked, last: last, floor: floor, waiting: waiting})
}

// LearnAfterSilence is Learn when nobody answered before.
func (a *Away) LearnAfterSilence(asked time.Time, last, floor, waiting uint64) {
	a.learn(spillState{asked: asked, last: last, floor: floor, waiting: waiting, missed: true})
}

// Look asks now.
func (l *Lookout) Look(ctx context.Context) bool { return l.look(ctx, false) }

// The constants.
const (
	OrderPatience = orderPatience
	BlindPatience = blindPatience
	SettleTime    = settleTime
)
