package audience_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	senderv1 "github.com/wxbus/wxbus/proto/gen/go/wxbus/sender/v1"

	"github.com/wxbus/wxbus/pkg/bus/bustest"
	"github.com/wxbus/wxbus/pkg/testkit"
	"github.com/wxbus/wxbus/pkg/topology"
	"github.com/wxbus/wxbus/services/sender/internal/campaign/audience"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func newStore(t testing.TB, most int) (*audience.Store, *bustest.Env) {
	t.Helper()
	env := bustest.Start(t)
	stream, err := env.JS.Stream(t.Context(), topology.StreamAudience)
	require.NoError(t, err)
	return audience.New(env.Conn, stream, most, time.Now), env
}

func campaign(names ...string) audience.Campaign {
	return audience.Campaign{Account: "shop", ID: "spring", Variables: names}
}

// stored is how many messages the stream holds.
func stored(t testing.TB, env *bustest.Env) uint64 {
	t.Helper()
	stream, err := env.JS.Stream(t.Context(), topology.StreamAudience)
	require.NoError(t, err)
	return stream.CachedInfo().State.Msgs
}

// read returns the recipients in their order.
func read(t require.TestingT, s *audience.Store, a *senderv1.CampaignAudience) []*senderv1.AudienceRecipient {
	var all []*senderv1.AudienceRecipient
	for chunk := range a.GetChunks() {
		part, err := s.Chunk(context.Background(), "shop", "spring", a.GetRevision(), chunk)
		require.NoError(t, err)
		require.Len(t, part, audience.SizeOf(a, chunk))
		all = append(all, part...)
	}
	return all
}

func TestAFileIsFrozenAndReadBack(t *testing.T) {
	s, env := newStore(t, 10_000)
	var file strings.Builder
	file.WriteString("\xef\xbb\xbfname;openid;points\r\n")
	for i := range 1203 {
		fmt.Fprintf(&file, "\"小;\"\"王%d\";oFan%04d;%d\r\n", i, i, i*2)
	}
	a, report, err := s.FreezeCSV(t.Context(), campaign("name", "points"), strings.NewReader(file.String()))
	require.NoError(t, err)
	require.Empty(t, report.Proto(true).GetProblems())
	require.EqualValues(t, 1203, a.GetRecipients())
	require.EqualValues(t, 3, a.GetChunks())
	require.EqualValues(t, 3, stored(t, env))
	require.NoError(t, s.Verify(t.Context(), "shop", "spring", a))
	all := read(t, s, a)
	slices.SortFunc(all, func(a, b *senderv1.AudienceRecipient) int { return cmp.Compare(a.GetLine(), b.GetLine()) })
	for i, r := range all {
		require.Equal(t, fmt.Sprintf("oFan%04d", i), r.GetOpenid())
		require.EqualValues(t, i+2, r.GetLine())
		require.Equal(t, []string{fmt.Sprintf(`小;"王%d`, i), strconv.Itoa(2 * i)}, r.GetValues())
	}

	other := proto.CloneOf(a)
	other.Sha256[0] ^= 1
	require.ErrorContains(t, s.Verify(t.Context(), "shop", "spring", other), "not what was frozen")
}

func TestEveryBadLineIsReportedWithItsNumber(t *testing.T) {
	s, _ := newStore(t, 10_000)
	file := "openid,name,ghost\n" + // line 1
		"oOne,Wang,x\n" +
		"o two,Li,x\n" + // 3: bad
		"oOne,Zhang,x\n" + // 4: again
		"\n" +
		"oThree,,x\n" + // 6: no name
		"oFour,Zhao\n" + // 7: fields
		"oFive,\"Sun,x\n" + // 8: quote
		"oSix,\xff\xfe,x\n" + // 9: no UTF-8
		"oSeven," + strings.Repeat("a", 1001) + ",x\n" + // 10: long
		"oEight," + strings.Repeat("a", 9000) + ",x\n" + // 11: longer than a line may be
		"oNine,Qian,x" // 12, without an end
	a, report, err := s.FreezeCSV(t.Context(), campaign("name"), strings.NewReader(file))
	require.NoError(t, err)
	require.EqualValues(t, 2, a.GetRecipients())
	require.EqualValues(t, 8, a.GetDropped())
	got := []string{}
	for _, p := range report.Proto(true).GetProblems() {
		got = append(got, fmt.Sprint(p.GetLine(), " ", p.GetKind()))
	}
	require.Equal(t, []string{"1 unknown_variable", "3 bad_openid", "4 duplicate", "6 missing_variable", "7 malformed", "8 malformed", "9 malformed", "10 too_long", "11 too_long"}, got)
	require.Contains(t, report.Proto(true).GetProblems()[2].GetText(), "line 2")
}

func TestAFileThatCannotBeUsedLeavesNothingBehind(t *testing.T) {
	s, env := newStore(t, 10_000)
	for name, file := range map[string]string{
		"empty":              "",
		"no header":          "oOne\noTwo\n",
		"no openid":          "name\nWang\n",
		"openid twice":       "openid,OpenID\noOne,oTwo\n",
		"variable twice":     "openid,name,name\noOne,a,b\n",
		"variable missing":   "openid\noOne\n",
		"nobody":             "openid,name\n",
		"only bad lines":     "openid,name\n!,a\n",
		"header not closed":  "\"openid,name\noOne,a\n",
		"header is too long": strings.Repeat("a", 9000) + "\noOne,a\n",
	} {
		a, report, err := s.FreezeCSV(t.Context(), campaign("name"), strings.NewReader(file))
		require.NoError(t, err, name)
		require.Nil(t, a, name)
		if name != "nobody" {
			require.NotEmpty(t, report.Proto(false).GetProblems(), name)
		}
	}
	require.Zero(t, stored(t, env))
}

func TestStrictMeansAllOrNothing(t *testing.T) {
	s, env := newStore(t, 10_000)
	var file strings.Builder
	file.WriteString("openid\n")
	for i := range 700 {
		fmt.Fprintf(&file, "oFan%d\n", i)
	}
	file.WriteString("oFan1\n")
	c := campaign()
	c.Strict = true
	a, report, err := s.FreezeCSV(t.Context(), c, strings.NewReader(file.String()))
	require.NoError(t, err)
	require.Nil(t, a)
	require.EqualValues(t, 702, report.Proto(false).GetProblems()[0].GetLine())
	require.Zero(t, stored(t, env), "the chunk that was written is taken back")
}

func TestTooManyRecipientsAreRefused(t *testing.T) {
	s, env := newStore(t, 600)
	var file strings.Builder
	file.WriteString("openid\n")
	for i := range 601 {
		fmt.Fprintf(&file, "oFan%d\n", i)
	}
	_, _, err := s.FreezeCSV(t.Context(), campaign(), strings.NewReader(file.String()))
	require.ErrorIs(t, err, audience.ErrTooMany)
	require.Zero(t, stored(t, env))
}

func TestAReaderThatBreaksLeavesNothingBehind(t *testing.T) {
	s, env := newStore(t, 10_000)
	file := "openid\n" + strings.Repeat("", 1)
	for i := range 600 {
		file += fmt.Sprintf("oFan%d\n", i)
	}
	broken := io.MultiReader(strings.NewReader(file), brokenReader{})
	_, _, err := s.FreezeCSV(t.Context(), campaign(), broken)
	require.ErrorIs(t, err, errBroken)
	require.Zero(t, stored(t, env))
}

func TestListsComeInPages(t *testing.T) {
	s, _ := newStore(t, 10_000)
	pages := [][]string{{"oOne", "oTwo"}, {}, {"oTwo", "oThree"}}
	next := func() ([]string, error) {
		if len(pages) == 0 {
			return nil, io.EOF
		}
		page := pages[0]
		pages = pages[1:]
		return page, nil
	}
	a, report, err := s.FreezeList(t.Context(), campaign(), "tag 100", next)
	require.NoError(t, err)
	require.EqualValues(t, 3, a.GetRecipients())
	require.Equal(t, "tag 100", a.GetSource())
	require.Len(t, report.Proto(true).GetProblems(), 1)

	a, report, err = s.FreezeList(t.Context(), campaign("name"), "list", next)
	require.NoError(t, err)
	require.Nil(t, a, "a list has no values for variables")
	require.Equal(t, audience.MissingVariable, report.Proto(false).GetProblems()[0].GetKind())
}

func TestReportsAreBounded(t *testing.T) {
	s, _ := newStore(t, 10_000)
	a, report, err := s.FreezeCSV(t.Context(), campaign(), strings.NewReader("openid\noOne\n"+strings.Repeat("!\n", 5000)))
	require.NoError(t, err)
	require.EqualValues(t, 1, a.GetRecipients())
	told := report.Proto(true)
	require.Len(t, told.GetProblems(), 1000)
	require.True(t, proto.Equal(&senderv1.ProblemCount{Kind: audience.BadOpenID, Problems: 5000}, told.GetCounts()[0]))
}

var errBroken = fmt.Errorf("broken")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }
