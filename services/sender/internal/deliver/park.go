package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/fault"

	"github.com/wxbus/wxbus/services/sender/internal/later"
	"github.com/wxbus/wxbus/services/sender/internal/pace"
	"github.com/wxbus/wxbus/services/sender/internal/sendstate"
)

const (
	// behind is the shortest time for which a message is parked that waits for the parked ones before it.
	behind = time.Second
	// firstSlot is the shortest time for which a message is parked for want of room in its line.
	firstSlot = 2 * time.Second
	// maxLine bounds how many parked messages are remembered.
	maxLine = 200_000
)

// lot remembers what this process has parked, so that nothing overtakes a parked message: a message goes on only when
// no older one of its fan is parked. It is safe for concurrent use.
type lot struct {
	mu    sync.Mutex             // guards everything below
	fans  map[spot][]uint64      // the order of parked messages, ascending
	until map[spot]time.Time     // when the newest of them comes back
	where map[string]place       // by id
	slots map[pace.Key]time.Time // the last slot that was given out for want of room
}

type place struct {
	spot  spot
	order uint64
}

// spot is one fan's place in front of one API. Lanes that people and rules share keep one order.
type spot struct {
	key    pace.Key
	line   senderv1.Lane
	openid string
}

func newLot() *lot {
	return &lot{fans: map[spot][]uint64{}, until: map[spot]time.Time{}, where: map[string]place{}, slots: map[pace.Key]time.Time{}}
}

func (w *Worker) spot(j *job) spot {
	line := j.m.GetLane()
	if line == senderv1.Lane_LANE_RULE {
		line = senderv1.Lane_LANE_AGENT
	}
	return spot{w.key(j), line, j.m.GetOpenid()}
}

// behind tells whether an older message of the fan is parked, and when the newest of them comes back.
func (l *lot) behind(s spot, order uint64) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until[s], len(l.fans[s]) > 0 && l.fans[s][0] < order
}

// add notes a parked message; one that is parked again keeps its place.
func (l *lot) add(s spot, id string, order uint64, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.where[id]
	if !known && len(l.where) >= maxLine {
		return
	}
	if until.After(l.until[s]) {
		l.until[s] = until
	}
	if known {
		return
	}
	at, _ := slices.BinarySearch(l.fans[s], order)
	l.fans[s] = slices.Insert(l.fans[s], at, order)
	l.where[id] = place{s, order}
}

// remove forgets a message that came to its end.
func (l *lot) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, known := l.where[id]
	if !known {
		return
	}
	delete(l.where, id)
	list := l.fans[p.spot]
	if at, found := slices.BinarySearch(list, p.order); found {
		list = slices.Delete(list, at, at+1)
	}
	if l.fans[p.spot] = list; len(list) == 0 {
		delete(l.fans, p.spot)
		delete(l.until, p.spot)
	}
}

// slot returns when a message for which there is no room may come back: at the pace of the API, one after the other.
func (l *lot) slot(key pace.Key, now time.Time, rate float64) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.slots[key].Add(time.Duration(float64(time.Second) / rate))
	if least := now.Add(firstSlot); next.Before(least) {
		next = least
	}
	l.slots[key] = next
	return next
}

// inOrder parks a message whose fan has an older one that is parked, until that one comes back.
func (w *Worker) inOrder(ctx context.Context, j *job) error {
	until, waits := w.lot.behind(w.spot(j), j.order)
	if !waits {
		return nil
	}
	if least := w.Now().Add(behind); until.Before(least) {
		until = least
	}
	return w.park(ctx, j, sendstate.Park{Reason: "waits behind parked messages of the fan", Until: until})
}

// noRoom parks a message whose line is full. One that has its turn already comes back soon.
func (w *Worker) noRoom(ctx context.Context, j *job) error {
	until := w.Now().Add(firstSlot)
	if !j.m.GetReturned() {
		until = w.lot.slot(w.key(j), w.Now(), w.cfg.Rate)
	}
	return w.park(ctx, j, sendstate.Park{Reason: "no room in the line of the account", Until: until})
}

// errParked ends the handling of a message that was parked: it is acknowledged.
var errParked = errors.New("parked")

// park moves the message out of the queue until then: it holds neither a place in memory nor one among the unacknowledged
// messages of its partition, so that it keeps nobody waiting. It returns errParked, or asks the bus to deliver
// again when there is no room.
func (w *Worker) park(ctx context.Context, j *job, p sendstate.Park) error {
	rec := j.rec.Rec
	if rec.GetState() != sendstate.Parked || rec.GetNotBeforeUnixMs() != p.Until.UnixMilli() {
		if err := w.change(ctx, j, p); err != nil {
			return err
		}
	}
	w.lot.add(w.spot(j), j.m.GetId(), j.order, p.Until)
	m := proto.CloneOf(j.m)
	m.Returned, m.Order = true, j.order
	switch err := w.Later.Put(ctx, later.Parked, p.Until, m); {
	case errors.Is(err, later.ErrFull):
		return fault.After(p.Until.Sub(w.Now()), fmt.Errorf("park message: %w", err))
	case err != nil:
		return fmt.Errorf("park message: %w", err)
	}
	w.Observer.Parked(ctx, j.account.Name, p.Errcode)
	return errParked
}
