package agentrouting_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/secret"

	agentrouting "github.com/wxbus/wxbus/services/agent-routing"
)

func TestWhatIsKeptForTheEndIsBounded(t *testing.T) {
	c := agentrouting.DefaultConfig()
	require.Equal(t, 1, c.KeptForEnd)
	for kept, ok := range map[int]bool{0: true, 4: true, -1: false, 5: false} {
		c.KeptForEnd = kept
		require.Equal(t, ok, c.Validate() == nil, kept)
	}
}

func TestFilesGoIntoAFolderOrIntoABucket(t *testing.T) {
	whole := agentrouting.S3Config{Bucket: "desk", Region: "cn-north-1", AccessKey: secret.New("id"), SecretKey: secret.New("secret"), Endpoint: "https://s3.example.com"}
	for name, test := range map[string]struct {
		change func(*agentrouting.Config)
		want   string
	}{
		"folder":              {func(c *agentrouting.Config) { c.FilesS3, c.FilesDir = agentrouting.S3Config{}, "/srv/files" }, ""},
		"bucket":              {func(*agentrouting.Config) {}, ""},
		"both":                {func(c *agentrouting.Config) { c.FilesDir = "/srv/files" }, "files_dir: must be empty"},
		"key without bucket":  {func(c *agentrouting.Config) { c.FilesS3.Bucket = "" }, "files_s3.bucket: must be set"},
		"no region":           {func(c *agentrouting.Config) { c.FilesS3.Region = "" }, "files_s3.region: must not be empty"},
		"no key":              {func(c *agentrouting.Config) { c.FilesS3.AccessKey = secret.Value{} }, "files_s3.access_key: must not be empty"},
		"no secret":           {func(c *agentrouting.Config) { c.FilesS3.SecretKey = secret.Value{} }, "files_s3.secret_key: must not be empty"},
		"endpoint not a URL":  {func(c *agentrouting.Config) { c.FilesS3.Endpoint = "s3.example.com" }, "files_s3.endpoint: must be an http or https URL"},
		"endpoint of another": {func(c *agentrouting.Config) { c.FilesS3.Endpoint = "ftp://s3.example.com" }, "files_s3.endpoint: must be an http or https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			c := agentrouting.DefaultConfig()
			c.FilesS3 = whole
			test.change(&c)
			if test.want == "" {
				require.NoError(t, c.Validate())
				return
			}
			require.ErrorContains(t, c.Validate(), test.want)
		})
	}
}

func TestTargetsOfGroupsAreBounded(t *testing.T) {
	c := agentrouting.DefaultConfig()
	c.Groups = []agentrouting.GroupConfig{{ID: "a", FirstResponse: 3 * time.Minute, NextResponse: time.Second, CloseWithin: 30 * 24 * time.Hour}}
	require.NoError(t, c.Validate())
	c.Groups = append(c.Groups, agentrouting.GroupConfig{ID: "b", FirstResponse: time.Millisecond, NextResponse: 49 * time.Hour, CloseWithin: -time.Second})
	err := c.Validate()
	for _, path := range []string{"groups[1].first_response: must be 0 or 1s", "groups[1].next_response: must be", "groups[1].close_within: must be"} {
		require.ErrorContains(t, err, path)
	}
}
