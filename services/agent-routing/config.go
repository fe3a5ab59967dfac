package agentrouting

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/wxbus/wxbus/pkg/config"

	"github.com/wxbus/wxbus/services/agent-routing/internal/domain"
	"github.com/wxbus/wxbus/services/agent-routing/internal/media"
)

// Config is the section "agent_routing" of the configuration file.
type Config struct {
	WaitingLimit       time.Duration `yaml:"waiting_limit" desc:"A fan whom nobody accepted for this long goes back to the rules, whatever the group says; 0 for never."`
	ServingIdle        time.Duration `yaml:"serving_idle" desc:"A conversation in which neither side wrote for this long is closed, unless the group sets its own time; 0 for never."`
	NativeIdle         time.Duration `yaml:"native_idle" desc:"A message that is pushed to us this long after WeChat's own desk took the fan proves that the session is over, even if its end was never reported; 0 for never."`
	KeptForEnd         int           `yaml:"kept_for_end" desc:"Messages of a fan's window that agents leave for the end of a conversation, the survey or the goodbye; they may take them on purpose. 2 leaves one for the warning of an idle conversation too; 0 keeps none."`
	AgentLease         time.Duration `yaml:"agent_lease" desc:"An agent whose console has not been heard of for this long is offline."`
	EraseOnUnsubscribe bool          `yaml:"erase_on_unsubscribe" desc:"Erase what is kept of a fan who unfollows: messages, files, remark, tags. Numbers for reports stay, without the fan."`
	FilesDir           string        `yaml:"files_dir" desc:"Folder for pictures, voices and videos of conversations; replicas must share it. Empty: files below data."`
	FilesS3            S3Config      `yaml:"files_s3" desc:"A bucket for the files in the place of the folder."`
	MaxInFlight        int           `yaml:"max_in_flight" desc:"Messages of one partition that are handled at the same time."`
	Groups             []GroupConfig `yaml:"groups" desc:"Groups to make when they do not exist yet; afterwards they are edited in the console."`
	Agents             []AgentConfig `yaml:"agents" desc:"Agents to make when they do not exist yet; afterwards they are edited in the console."`
}

// GroupConfig is a group to begin with.
type GroupConfig struct {
	ID     string `yaml:"id" desc:"The queue that rules name: letters, digits, - and _."`
	Name   string `yaml:"name" desc:"Name to show."`
	Method string `yaml:"method" enum:"least_load,rotation,last_agent,manual" desc:"How an agent is found."`
	Survey bool   `yaml:"survey" desc:"Ask fans for a score at the end."`

	FirstResponse time.Duration `yaml:"first_response" desc:"Target for the first answer of a person, in working hours; 0 for none."`
	NextResponse  time.Duration `yaml:"next_response" desc:"Target for the answer to each later message; 0 for none."`
	CloseWithin   time.Duration `yaml:"close_within" desc:"Target for the end of a conversation; 0 for none."`
}

// AgentConfig is an agent to begin with.
type AgentConfig struct {
	ID         string   `yaml:"id" desc:"Name of the console user."`
	Name       string   `yaml:"name" desc:"Name that fans see."`
	Groups     []string `yaml:"groups" desc:"Groups by id."`
	AutoAccept bool     `yaml:"auto_accept" desc:"Begin conversations without asking."`
}

// S3Config is a bucket of a service that speaks the protocol of S3.
type S3Config struct {
	Bucket    string        `yaml:"bucket" desc:"Name of the bucket, which must be there; empty keeps files in the folder."`
	Endpoint  string        `yaml:"endpoint" desc:"Base URL of the service; empty for Amazon's."`
	Region    string        `yaml:"region" desc:"Region of the bucket; services that have none want us-east-1."`
	Prefix    string        `yaml:"prefix" desc:"Begins the name of every file, for example \"wxbus/\"."`
	AccessKey config.Secret `yaml:"access_key" desc:"Id of the key; it needs GetObject, PutObject and DeleteObject below the prefix, and ListBucket."`
	SecretKey config.Secret `yaml:"secret_key" desc:"Secret of the key."`
	PathStyle bool          `yaml:"path_style" desc:"Name the bucket in the path and not in the host, as most services other than Amazon's want it."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		WaitingLimit:       48 * time.Hour, // then WeChat's window is closed and nobody can answer any more
		ServingIdle:        30 * time.Minute,
		NativeIdle:         30 * time.Minute,
		KeptForEnd:         1,
		AgentLease:         time.Minute,
		EraseOnUnsubscribe: true,
		MaxInFlight:        64,
		FilesS3:            S3Config{Region: "us-east-1", PathStyle: true},
	}
}

var (
	groupID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	methods = map[string]domain.Method{"": domain.LeastLoad, "least_load": domain.LeastLoad, "rotation": domain.Rotation, "last_agent": domain.LastAgent, "manual": domain.Manual}
)

// Validate returns every fault, joined, each with its path.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		path  string
		value time.Duration
	}{{"waiting_limit", c.WaitingLimit}, {"serving_idle", c.ServingIdle}, {"native_idle", c.NativeIdle}} {
		if d.value != 0 && d.value < time.Second {
			errs = append(errs, fmt.Errorf("%s: must be 0 or at least 1s, is %s", d.path, d.value))
		}
	}
	if c.KeptForEnd < 0 || c.KeptForEnd > 4 {
		errs = append(errs, fmt.Errorf("kept_for_end: must be 0 to 4, is %d", c.KeptForEnd))
	}
	if c.AgentLease < 3*time.Second || c.AgentLease > time.Hour {
		errs = append(errs, fmt.Errorf("agent_lease: must be 3s to 1h, is %s", c.AgentLease))
	}
	if c.MaxInFlight < 1 || c.MaxInFlight > 1024 {
		errs = append(errs, fmt.Errorf("max_in_flight: must be 1 to 1024, is %d", c.MaxInFlight))
	}
	errs = append(errs, c.validateFiles()...)
	errs = append(errs, c.validateGroups()...)
	errs = append(errs, c.validateAgents()...)
	return errors.Join(errs...)
}

func (c Config) validateGroups() (errs []error) {
	for i, g := range c.Groups {
		if !groupID.MatchString(g.ID) {
			errs = append(errs, fmt.Errorf("groups[%d].id: must be 1 to 64 letters, digits, - and _", i))
		}
		if _, ok := methods[g.Method]; !ok {
			errs = append(errs, fmt.Errorf("groups[%d].method: must be least_load, rotation, last_agent or manual", i))
		}
		for _, target := range []struct {
			path        string
			value, most time.Duration
		}{{"first_response", g.FirstResponse, domain.MaxResponse}, {"next_response", g.NextResponse, domain.MaxResponse}, {"close_within", g.CloseWithin, domain.MaxInTime}} {
			if v := target.value; v != 0 && (v < time.Second || v > target.most) {
				errs = append(errs, fmt.Errorf("groups[%d].%s: must be 0 or 1s to %s, is %s", i, target.path, target.most, v))
			}
		}
	}
	return errs
}

func (c Config) validateAgents() (errs []error) {
	for i, a := range c.Agents {
		if strings.TrimSpace(a.ID) == "" || len([]rune(a.ID)) > 64 {
			errs = append(errs, fmt.Errorf("agents[%d].id: must be 1 to 64 characters", i))
		}
		for _, g := range a.Groups {
			if !groupID.MatchString(g) {
				errs = append(errs, fmt.Errorf("agents[%d].groups: %q is not the id of a group", i, g))
			}
		}
	}
	return errs
}

func (c Config) validateFiles() (errs []error) {
	b := c.FilesS3
	if b.Bucket == "" {
		if !b.AccessKey.IsZero() || !b.SecretKey.IsZero() || b.Endpoint != "" {
			errs = append(errs, errors.New("files_s3.bucket: must be set with the other fields of files_s3"))
		}
		return errs
	}
	if c.FilesDir != "" {
		errs = append(errs, errors.New("files_dir: must be empty when files_s3.bucket is set"))
	}
	if u, err := url.Parse(b.Endpoint); b.Endpoint != "" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "") {
		errs = append(errs, errors.New("files_s3.endpoint: must be an http or https URL"))
	}
	if b.Region == "" {
		errs = append(errs, errors.New("files_s3.region: must not be empty"))
	}
	if b.AccessKey.IsZero() {
		errs = append(errs, errors.New("files_s3.access_key: must not be empty"))
	}
	if b.SecretKey.IsZero() {
		errs = append(errs, errors.New("files_s3.secret_key: must not be empty"))
	}
	return errs
}

// store returns where files are kept, and what ends its connections.
func (c Config) store(folder string) (media.Store, func()) {
	b := c.FilesS3
	if b.Bucket == "" {
		return media.NewFolder(folder), func() {}
	}
	s := media.NewBucket(media.BucketOptions{
		Endpoint: b.Endpoint, Region: b.Region, Bucket: b.Bucket, Prefix: b.Prefix, PathStyle: b.PathStyle,
		AccessKey: b.AccessKey, SecretKey: b.SecretKey,
	})
	return s, s.Close
}

func (g GroupConfig) group() domain.Group {
	name := g.Name
	if name == "" {
		name = g.ID
	}
	whole := func(d time.Duration) int { return int(d / time.Second) }
	return domain.Group{
		ID: g.ID, Name: name, Method: methods[g.Method], Survey: g.Survey,
		FirstS: whole(g.FirstResponse), NextS: whole(g.NextResponse), CloseS: whole(g.CloseWithin),
	}
}

func (a AgentConfig) member() domain.Member {
	name := a.Name
	if name == "" {
		name = a.ID
	}
	return domain.Member{ID: a.ID, Name: name, Groups: a.Groups, AutoAccept: a.AutoAccept}
}
