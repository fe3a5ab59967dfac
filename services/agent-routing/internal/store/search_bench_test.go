package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	agentroutingv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/agentrouting/v1"

	"github.com/wxbus/wxbus/pkg/sqldb"
	"github.com/wxbus/wxbus/pkg/sqldb/sqldbtest"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/store"
)

// messagesEnv is how many messages are searched; a million when it is not set.
const messagesEnv = "SEARCH_MESSAGES"

// BenchmarkSearch measures the search over history on Postgres: a page of 20, newest first, over a million messages in Chinese and English.
// The aim is a p95 of 500 ms over a mix of what people look for.
func BenchmarkSearch(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv(messagesEnv); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	o := sqldbtest.Options(b, sqldb.Postgres, store.Migrations())
	s := store.New()
	s.Use(sqldbtest.Open(b, o))
	q, err := s.Query()
	require.NoError(b, err)
	c := newCorpus()
	began := time.Now()
	c.fill(b, o, n)
	b.Logf("%d messages in %s", n, time.Since(began).Round(time.Second))
	looks := c.looks()
	for _, look := range looks { // once, so that what is read often is in memory, as it is in a desk that works
		_, err := q.Search(b.Context(), look)
		require.NoError(b, err)
	}
	took := map[string][]time.Duration{}
	for i := 0; b.Loop(); i++ {
		for name, look := range looks {
			start := time.Now()
			found, err := q.Search(b.Context(), look)
			d := time.Since(start)
			require.NoError(b, err)
			if name == "common word" {
				require.NotEmpty(b, found)
			}
			took[name] = append(took[name], d)
			took[""] = append(took[""], d)
		}
	}
	for _, name := range slices.Sorted(keys(took)) {
		slices.Sort(took[name])
		p95 := took[name][len(took[name])*95/100]
		if name == "" {
			b.ReportMetric(float64(p95.Microseconds())/1000, "p95-ms")
		} else {
			b.Logf("%-24s p95 %s", name, p95.Round(100*time.Microsecond))
		}
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// corpus makes messages out of words that are as uneven as those of a language: few are everywhere, most are rare.
type corpus struct {
	random           *rand.Rand
	chinese, english []string
	zipf             *rand.Zipf
}

const vocabulary = 5000

func newCorpus() *corpus {
	random := rand.New(rand.NewPCG(7, 7))
	c := &corpus{random: random, zipf: rand.NewZipf(random, 1.1, 4, vocabulary-1)}
	for range vocabulary {
		var zh, en strings.Builder
		for range 2 + random.IntN(2) {
			zh.WriteRune('一' + rune(random.IntN(2500)))
		}
		for range 3 + random.IntN(7) {
			en.WriteByte(byte('a' + random.IntN(26)))
		}
		c.chinese, c.english = append(c.chinese, zh.String()), append(c.english, en.String())
	}
	return c
}

func (c *corpus) text() string {
	var b strings.Builder
	if c.random.IntN(4) > 0 {
		for range 3 + c.random.IntN(5) {
			b.WriteString(c.chinese[c.zipf.Uint64()])
		}
		return b.String()
	}
	for range 3 + c.random.IntN(5) {
		b.WriteString(c.english[c.zipf.Uint64()] + " ")
	}
	return b.String()
}

// looks are what people look for, by what makes it easy or hard.
func (c *corpus) looks() map[string]store.Find {
	look := func(query string) store.Find {
		f := store.Find{Limit: 21}
		f.Words, f.Grams = domain.Words(query)
		return f
	}
	ofAgent, ofFan := look(c.chinese[3]), look(c.chinese[0])
	ofAgent.Agent, ofFan.Account, ofFan.OpenID = "agent-3", "shop", "fan-5"
	lastDay := look(c.english[1])
	lastDay.From = begin.Add(span - 24*time.Hour)
	return map[string]store.Find{
		"common word": look(c.chinese[0]), "common English word": look(c.english[0]), "rare word": look(c.chinese[vocabulary-100]),
		"rare English word": look(c.english[vocabulary-100]), "two common words": look(c.chinese[1] + " " + c.chinese[2]),
		"common and rare word": look(c.chinese[0] + " " + c.chinese[2000]), "one character": look(string([]rune(c.chinese[0])[:1])),
		"part of a word": look(c.english[vocabulary-200][:3]), "word of one agent": ofAgent, "word of one fan": ofFan, "word of the last day": lastDay,
		"nothing": look("鿿鿾鿽"),
	}
}

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// span is the time over which the messages are spread.
const span = 90 * 24 * time.Hour

// fill writes n messages with their pairs of characters as fast as Postgres takes them.
func (c *corpus) fill(b *testing.B, o sqldb.Options, n int) {
	b.Helper()
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, o.URL.Reveal())
	require.NoError(b, err)
	defer func() { require.NoError(b, conn.Close(context.WithoutCancel(ctx))) }()
	run := func(sql string) {
		_, err := conn.Exec(ctx, sql)
		require.NoError(b, err, sql)
	}
	run("SET search_path = " + o.Service)
	run("ALTER TABLE grams DROP CONSTRAINT grams_pkey")
	run("DROP INDEX grams_fan")
	run("DROP INDEX messages_time")
	const batch = 50_000
	seqs := map[string]int64{}
	for first := 0; first < n; first += batch {
		var rows, grams [][]any
		for i := first; i < min(n, first+batch); i++ {
			fan := fmt.Sprintf("fan-%d", i%max(n/50, 1))
			seqs[fan]++
			m := &agentroutingv1.Message{
				Account: "shop", Openid: fan, Seq: uint64(seqs[fan]), Conversation: "c-" + fan, AuthorKind: agentroutingv1.AuthorKind(1 + i%2),
				Text: c.text(), MsgType: "text", AtUnixMs: begin.Add(span / time.Duration(n) * time.Duration(i)).UnixMilli(),
			}
			if i%2 == 1 {
				m.Author = fmt.Sprintf("agent-%d", i/2%50)
			}
			body, err := proto.Marshal(m)
			require.NoError(b, err)
			folded := domain.Fold(m.GetText())
			rows = append(rows, []any{m.GetAccount(), fan, seqs[fan], m.GetConversation(), int16(m.GetAuthorKind()), m.GetAuthor(), int16(0), m.GetAtUnixMs(), body, folded})
			for _, g := range domain.Grams(folded) {
				grams = append(grams, []any{g, m.GetAccount(), fan, seqs[fan]})
			}
		}
		_, err = conn.CopyFrom(ctx, pgx.Identifier{"messages"}, []string{"account", "openid", "seq", "conversation", "author_kind", "author", "state", "at_ms", "body", "folded"}, pgx.CopyFromRows(rows))
		require.NoError(b, err)
		_, err = conn.CopyFrom(ctx, pgx.Identifier{"grams"}, []string{"gram", "account", "openid", "seq"}, pgx.CopyFromRows(grams))
		require.NoError(b, err)
	}
	run("ALTER TABLE grams ADD PRIMARY KEY (gram, account, openid, seq)")
	run("CREATE INDEX grams_fan ON grams (account, openid)")
	run("CREATE INDEX messages_time ON messages (at_ms, account, openid, seq)")
	run("VACUUM ANALYZE")
}
