package store

import (
	"context"
	"slices"
	"time"

	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/sqldb"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
)

// Group returns a group; a queue that nobody configured is an implicit one.
func (q Q) Group(ctx context.Context, id string) (domain.Group, error) {
	return q.group(ctx, id, "")
}

// LockGroup is Group that lets no other decision about the queue be made until the end of the transaction.
func (q Q) LockGroup(ctx context.Context, id string) (domain.Group, error) {
	return q.group(ctx, id, q.ForUpdate())
}

func (q Q) group(ctx context.Context, id, lock string) (domain.Group, error) {
	g, ok, err := one[domain.Group]{scanGroup}.get(ctx, q, "SELECT revision, body FROM desk_groups WHERE id = ?"+lock, id)
	if err != nil || ok {
		return g, err
	}
	return domain.ImplicitGroup(id), nil
}

func scanGroup(r sqldb.Scanner) (domain.Group, error) {
	var body string
	var revision int64
	var g domain.Group
	if err := r.Scan(&revision, &body); err != nil {
		return g, err
	}
	err := decode(body, &g)
	g.Revision = revision
	return g, err
}

// Groups returns every group, by id.
func (q Q) Groups(ctx context.Context) ([]domain.Group, error) {
	return collect(ctx, q, "SELECT revision, body FROM desk_groups ORDER BY id", nil, scanGroup)
}

// GroupsByID returns every group.
func (q Q) GroupsByID(ctx context.Context) (map[string]domain.Group, error) {
	all, err := q.Groups(ctx)
	out := make(map[string]domain.Group, len(all))
	for _, g := range all {
		out[g.ID] = g
	}
	return out, err
}

// SaveGroup stores a group under the next revision. It fails with Conflict when g.Revision is set and another is stored.
func (q Q) SaveGroup(ctx context.Context, g domain.Group) (domain.Group, error) {
	stored, err := q.LockGroup(ctx, g.ID)
	if err != nil {
		return g, err
	}
	if g.Revision != 0 && g.Revision != stored.Revision {
		return g, fault.New(fault.Conflict, "the group was changed by somebody else")
	}
	g.Revision = stored.Revision + 1
	body, err := encode(g)
	if err != nil {
		return g, err
	}
	_, err = q.Exec(ctx, "INSERT INTO desk_groups (id, revision, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, body = excluded.body",
		g.ID, g.Revision, body)
	return g, err
}

// DeleteGroup removes a group; it is no error that there is none.
func (q Q) DeleteGroup(ctx context.Context, id string) error {
	_, err := q.Exec(ctx, "DELETE FROM desk_groups WHERE id = ?", id)
	return err
}

const memberColumns = "id, presence, presence_ms, lease_ms, assigned_ms, body"

func scanMember(r sqldb.Scanner) (domain.Member, error) {
	var m domain.Member
	var id, body string
	var since, lease, assigned int64
	if err := r.Scan(&id, &m.Presence, &since, &lease, &assigned, &body); err != nil {
		return m, err
	}
	if err := decode(body, &m); err != nil {
		return m, err
	}
	m.ID, m.PresenceSince, m.LeaseUntil, m.LastAssigned = id, at(since), at(lease), at(assigned)
	return m, nil
}

// LockMembers returns the agents of a group with their load, by id. Nobody else can change them or give them a
// conversation until the end of the transaction.
func (q Q) LockMembers(ctx context.Context, group string) ([]domain.Member, error) {
	return q.members(ctx, "id IN (SELECT agent FROM agent_groups WHERE grp = ?)", q.ForUpdate(), group)
}

// LockAgents is LockMembers for agents by id; unknown ones are left out.
func (q Q) LockAgents(ctx context.Context, ids ...string) ([]domain.Member, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	return q.members(ctx, "id IN ("+sqldb.In(len(ids))+")", q.ForUpdate(), anys(ids)...)
}

// Members returns the agents of a group, or all, with their load, by id.
func (q Q) Members(ctx context.Context, group string) ([]domain.Member, error) {
	if group == "" {
		return q.members(ctx, "1 = 1", "")
	}
	return q.members(ctx, "id IN (SELECT agent FROM agent_groups WHERE grp = ?)", "", group)
}

// Member returns one agent with their load.
func (q Q) Member(ctx context.Context, id string) (domain.Member, bool, error) {
	found, err := q.members(ctx, "id = ?", "", id)
	if err != nil || len(found) == 0 {
		return domain.Member{}, false, err
	}
	return found[0], true, nil
}

func (q Q) members(ctx context.Context, where, lock string, args ...any) ([]domain.Member, error) {
	members, err := collect(ctx, q, "SELECT "+memberColumns+" FROM agents WHERE "+where+" ORDER BY id"+lock, args, scanMember)
	if err != nil || len(members) == 0 {
		return members, err
	}
	groups, err := q.GroupsByID(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*domain.Member, len(members))
	ids := make([]any, len(members))
	for i := range members {
		members[i].Places = members[i].CapacityIn(groups)
		byID[members[i].ID] = &members[i]
		ids[i] = members[i].ID
	}
	// A new statement sees what was committed before the locks were granted.
	err = q.Each(ctx, "SELECT agent, state, COUNT(*) FROM conversations WHERE agent IN ("+sqldb.In(len(ids))+") AND state IN (?, ?, ?) GROUP BY agent, state",
		append(ids, int16(domain.Offered), int16(domain.Active), int16(domain.OnHold)), func(r sqldb.Scanner) error {
			var id string
			var state domain.State
			var n int
			if err := r.Scan(&id, &state, &n); err != nil {
				return err
			}
			byID[id].Count(state, n)
			return nil
		})
	return members, err
}

// SaveMember adds an agent or replaces the settings; presence stays.
func (q Q) SaveMember(ctx context.Context, m domain.Member) error {
	body, err := encode(m)
	if err != nil {
		return err
	}
	if _, err := q.Exec(ctx, "INSERT INTO agents (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body", m.ID, body); err != nil {
		return err
	}
	if _, err := q.Exec(ctx, "DELETE FROM agent_groups WHERE agent = ?", m.ID); err != nil {
		return err
	}
	for _, g := range m.Groups {
		if _, err := q.Exec(ctx, "INSERT INTO agent_groups (agent, grp) VALUES (?, ?) ON CONFLICT DO NOTHING", m.ID, g); err != nil {
			return err
		}
	}
	return nil
}

// Enrol adds an agent without groups unless they are known.
func (q Q) Enrol(ctx context.Context, id string) error {
	body, err := encode(domain.Member{ID: id, Name: id})
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, "INSERT INTO agents (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING", id, body)
	return err
}

// DeleteMember removes an agent.
func (q Q) DeleteMember(ctx context.Context, id string) error {
	if _, err := q.Exec(ctx, "DELETE FROM agent_groups WHERE agent = ?", id); err != nil {
		return err
	}
	_, err := q.Exec(ctx, "DELETE FROM agents WHERE id = ?", id)
	return err
}

// SetPresence sets the presence of a locked agent.
func (q Q) SetPresence(ctx context.Context, id string, p domain.Presence, now, lease time.Time) error {
	_, err := q.Exec(ctx, "UPDATE agents SET presence = ?, presence_ms = ?, lease_ms = ? WHERE id = ?", int16(p), millis(now), millis(lease), id)
	return err
}

// Renew extends the lease of an agent who works.
func (q Q) Renew(ctx context.Context, id string, now, lease time.Time) error {
	_, err := q.Exec(ctx, "UPDATE agents SET lease_ms = ? WHERE id = ? AND presence IN (?, ?) AND lease_ms > ?",
		millis(lease), id, int16(domain.Online), int16(domain.Away), millis(now))
	return err
}

// Expire takes agents offline whose lease has run out and returns how many. Of several replicas that try, one does.
func (q Q) Expire(ctx context.Context, now time.Time) (int64, error) {
	return q.Exec(ctx, "UPDATE agents SET presence = ?, presence_ms = ?, lease_ms = 0 WHERE presence IN (?, ?) AND lease_ms <= ?",
		int16(domain.Offline), millis(now), int16(domain.Online), int16(domain.Away), millis(now))
}

// Assigned notes when a locked agent was given a conversation.
func (q Q) Assigned(ctx context.Context, id string, now time.Time) error {
	_, err := q.Exec(ctx, "UPDATE agents SET assigned_ms = ? WHERE id = ?", millis(now), id)
	return err
}

// SeedGroup adds a group unless there is one of that id.
func (q Q) SeedGroup(ctx context.Context, g domain.Group) error {
	g.Revision = 1
	body, err := encode(g)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, "INSERT INTO desk_groups (id, revision, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", g.ID, g.Revision, body)
	return err
}

// SeedMember adds an agent unless there is one of that id.
func (q Q) SeedMember(ctx context.Context, m domain.Member) error {
	_, known, err := q.Member(ctx, m.ID)
	if err != nil || known {
		return err
	}
	return q.SaveMember(ctx, m)
}
