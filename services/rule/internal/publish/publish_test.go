package publish_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/fault"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/rule/internal/match"
	"github.com/wxbus/wxbus/services/rule/internal/publish"
	"github.com/wxbus/wxbus/services/rule/internal/ruleset"
)

func TestMain(m *testing.M) {
	testkit.Main(m)
}

func open(t *testing.T, env *bustest.Env) *publish.Store {
	t.Helper()
	store, err := publish.Open(t.Context(), env.JS, slog.New(slog.DiscardHandler), time.Now)
	require.NoError(t, err)
	return store
}

func start(t *testing.T, store *publish.Store) *publish.Live {
	t.Helper()
	live, err := publish.NewLive(store, slog.New(slog.DiscardHandler), noop.NewMeterProvider().Meter(""))
	require.NoError(t, err)
	require.NoError(t, live.Start(t.Context()))
	t.Cleanup(live.Stop)
	return live
}

func publication(t *testing.T, keyword string) publish.Publication {
	t.Helper()
	file := []byte(fmt.Sprintf("rules:\n  - {name: %s, match: {contains: [%s]}, do: [none]}\n", keyword, keyword))
	rules, err := ruleset.Parse(file, ruleset.Options{})
	require.NoError(t, err)
	return publish.Publication{File: file, Rules: rules, Source: publish.SourceAPI, Note: "for " + keyword}
}

func matches(live *publish.Live, text string) bool {
	_, ok := live.Set().Find(match.Input{Account: "shop", Triggers: []string{"text"}, Text: text, HasText: true}, ruleset.Facts{})
	return ok
}

func TestEveryReplicaSwapsToWhatIsPublished(t *testing.T) {
	env := bustest.Start(t)
	store := open(t, env)
	one, two := start(t, store), start(t, open(t, env))
	require.False(t, matches(one, "apple"))

	first, err := store.Publish(t.Context(), publication(t, "apple"))
	require.NoError(t, err)
	require.False(t, first.Unchanged)
	require.True(t, strings.HasSuffix(first.Info.Version, "-1"))
	for _, live := range []*publish.Live{one, two} {
		require.NoError(t, live.Await(t.Context(), first.Revision))
		require.True(t, matches(live, "apple"))
	}

	again, err := store.Publish(t.Context(), publication(t, "apple"))
	require.NoError(t, err)
	require.True(t, again.Unchanged)
	require.Equal(t, first.Info.Version, again.Info.Version)

	second, err := store.Publish(t.Context(), publication(t, "banana"))
	require.NoError(t, err)
	require.NoError(t, two.Await(t.Context(), second.Revision))
	require.False(t, matches(two, "apple"))

	back, err := store.RollBack(t.Context(), first.Info.Version, "li")
	require.NoError(t, err)
	for _, live := range []*publish.Live{one, two} {
		require.NoError(t, live.Await(t.Context(), back.Revision))
		require.Equal(t, first.Info.Version, live.Set().Version)
	}
	_, err = store.RollBack(t.Context(), "nothing-9", "li")
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	late := start(t, store)
	require.True(t, matches(late, "apple"), "a replica that starts later has the live set at once")
	pointer, _, err := store.Pointer(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"for banana", "for apple"}, []string{pointer.Sets[0].Note, pointer.Sets[1].Note})
}

func TestAPublisherWhoExpectsAnotherVersionLoses(t *testing.T) {
	store := open(t, bustest.Start(t))
	first, err := store.Publish(t.Context(), publication(t, "apple"))
	require.NoError(t, err)
	p := publication(t, "banana")
	p.Expected = "older-0"
	_, err = store.Publish(t.Context(), p)
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	p.Expected = first.Info.Version
	_, err = store.Publish(t.Context(), p)
	require.NoError(t, err)
}

func TestPublishersAtTheSameTimeTakeTurns(t *testing.T) {
	env := bustest.Start(t)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		store, p := open(t, env), publication(t, fmt.Sprintf("word%d", i))
		wg.Go(func() { _, errs[i] = store.Publish(t.Context(), p) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	pointer, _, err := open(t, env).Pointer(t.Context())
	require.NoError(t, err)
	require.Len(t, pointer.Sets, 4)
	require.EqualValues(t, 4, pointer.Sequence)
	require.Equal(t, pointer.Live, pointer.Sets[0].Version)
	for _, info := range pointer.Sets {
		_, err := open(t, env).File(t.Context(), info)
		require.NoError(t, err, "every kept version can be read")
	}
}

func TestABrokenSetLeavesTheOldOneLive(t *testing.T) {
	env := bustest.Start(t)
	store := open(t, env)
	live := start(t, store)
	good, err := store.Publish(t.Context(), publication(t, "apple"))
	require.NoError(t, err)
	require.NoError(t, live.Await(t.Context(), good.Revision))

	bad, err := store.Publish(t.Context(), publication(t, "banana"))
	require.NoError(t, err)
	require.NoError(t, live.Await(t.Context(), bad.Revision))
	_, err = store.RollBack(t.Context(), good.Info.Version, "li")
	require.NoError(t, err)
	objects, err := env.JS.ObjectStore(t.Context(), topology.StoreRuleSets)
	require.NoError(t, err)
	for _, name := range []string{bad.Info.Object, bad.Info.Object + ".compiled"} {
		_, err = objects.PutBytes(t.Context(), name, []byte("rules: []"))
		require.NoError(t, err)
	}
	broken, err := store.RollBack(t.Context(), bad.Info.Version, "li")
	require.NoError(t, err)
	require.NoError(t, live.Await(t.Context(), broken.Revision))
	require.Equal(t, good.Info.Version, live.Set().Version)
	require.True(t, matches(live, "apple"))

	late := start(t, store)
	require.True(t, matches(late, "apple"), "a replica that starts now uses the newest set that is not broken")
}

func TestADamagedFastFormIsReadFromTheFile(t *testing.T) {
	env := bustest.Start(t)
	store := open(t, env)
	published, err := store.Publish(t.Context(), publication(t, "apple"))
	require.NoError(t, err)
	objects, err := env.JS.ObjectStore(t.Context(), topology.StoreRuleSets)
	require.NoError(t, err)
	_, err = objects.PutBytes(t.Context(), published.Info.Object+".compiled", []byte("older release"))
	require.NoError(t, err)
	require.True(t, matches(start(t, store), "apple"))
}

// Replicas that start together publish the same rules_file at the same moment.
func TestTheSameFileFromSeveralReplicasIsPublishedOnceAndCanBeRead(t *testing.T) {
	env := bustest.Start(t)
	same := publication(t, "apple")
	const replicas = 8
	stores := make([]*publish.Store, replicas)
	for i := range stores {
		stores[i] = open(t, env)
	}
	var wg sync.WaitGroup
	versions := make([]string, replicas)
	for i, store := range stores {
		wg.Go(func() {
			published, err := store.Publish(t.Context(), same)
			if err == nil {
				versions[i] = published.Info.Version
			}
		})
	}
	wg.Wait()
	for _, v := range versions {
		require.Equal(t, versions[0], v)
	}
	require.NotEmpty(t, versions[0])
	require.True(t, matches(start(t, stores[0]), "apple"), "no loser took the winner's objects away")
}

func TestOldVersionsAreForgotten(t *testing.T) {
	env := bustest.Start(t)
	store := open(t, env)
	first, err := store.Publish(t.Context(), publication(t, "word0"))
	require.NoError(t, err)
	for i := 1; i <= 50; i++ {
		_, err := store.Publish(t.Context(), publication(t, fmt.Sprintf("word%d", i)))
		require.NoError(t, err)
	}
	pointer, _, err := store.Pointer(t.Context())
	require.NoError(t, err)
	require.Len(t, pointer.Sets, 50)
	_, err = store.File(t.Context(), first.Info)
	require.Error(t, err)
	value, err := json.Marshal(pointer)
	require.NoError(t, err)
	require.Less(t, len(value), 32<<10, "the pointer stays small")
}
