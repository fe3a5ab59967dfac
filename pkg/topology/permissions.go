package topology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wxbus/wxbus/pkg/fault"
)

// Users of NATS besides the services.
const (
	// UserProvision creates and changes streams; nobody else may. It reads and publishes nothing.
	UserProvision = "provision"
	// UserOperator is a person with the command line: dead letters, backups, repairs. It may do everything.
	UserOperator = "operator"
)

// Permissions are the subjects of one user of NATS. A subject that is denied wins over one that is allowed.
type Permissions struct {
	Publish, DenyPublish []string
	Subscribe            []string
	// Answers lets the user answer requests on the inbox of whoever asked, once each.
	Answers bool
}

// access is what a service does besides reading its own durables and writing what it owns.
type access struct {
	looks   []string // streams of which it reads single messages
	follows []string // streams, KV_<bucket> and OBJ_<store> that it also reads with short-lived consumers
	purges  []string // streams of which it removes messages
	asks    []string // core subjects on which it sends
	hears   []string // core subjects that it listens to
	answers bool
	writes  []string // subjects of streams that another service owns
	admin   []string // further subjects of the JetStream API
}

// accesses has a line for each service. What it lacks shows as a timeout and as "permissions violation" in the
// log of the service; the end-to-end table runs with exactly these users.
var accesses = map[string]access{
	ServiceGateway: {
		looks: []string{StreamInbound, StreamSpill, StreamDecisions},
		// Claims on decisions, by compare-and-set; and what is told by whoever writes them (a hint for those that wait).
		writes: []string{prefixDecision + ">"},
		// Whose pushes are away: what other gateways send to the spill stream, and what is home again.
		hears:   []string{prefixOffer + "*", subjectEvidence, prefixDecision + ">", prefixSpill + ">", subjectHome},
		asks:    []string{subjectHome},
		answers: true,
		follows: []string{bucketStream(BucketCallbackIPs)},
		admin:   []string{"STREAM.LEADER.STEPDOWN." + StreamSpill},
	},
	ServiceRule: {
		follows: []string{StreamInbound, StreamDecisions, bucketStream(BucketOwners), bucketStream(BucketTokens)},
		asks:    []string{prefixOffer + "*"},
		hears:   []string{prefixDecision + ">"},
	},
	ServiceToken: {asks: []string{subjectEvidence}},
	ServiceSender: {
		looks:   []string{StreamInbound},
		follows: []string{StreamDelivery, StreamOutbound, StreamLater, StreamAudience, StreamCampaignLedger, bucketStream(BucketOwners), bucketStream(BucketTokens)},
		purges:  []string{StreamAudience, StreamLater, StreamOutbound},
	},
	ServiceAgentRouting: {
		follows: []string{StreamInbound, StreamDecisions, StreamDelivery, StreamConversations, bucketStream(BucketTokens)},
		purges:  []string{StreamConversations},
		asks:    []string{prefixDeskSignal + ">"},
	},
	ServiceConsole: {
		follows: []string{StreamInbound, StreamDecisions, StreamDelivery, StreamConversations, StreamAlarms, StreamDeadLetters,
			StreamAdvisories, bucketStream(BucketOwners), bucketStream(BucketTokens)},
		hears: []string{prefixDeskSignal + ">"},
		admin: []string{"CONSUMER.LIST.*"}, // it measures what waits
	},
}

// Users returns the users of NATS: the services, provision, operator.
func Users() []string {
	return []string{
		ServiceGateway, ServiceRule, ServiceToken, ServiceSender, ServiceAgentRouting, ServiceConsole, UserProvision, UserOperator,
	}
}

// Permissions returns what a user needs and no more: what it writes follows from who owns a stream or bucket, what
// it reads from its durables and from a table.
func (t *Topology) Permissions(user string) (Permissions, error) {
	switch user {
	case UserOperator:
		return Permissions{Publish: []string{">"}, Subscribe: []string{">"}}, nil
	case UserProvision:
		return Permissions{Publish: provisionSubjects(), Subscribe: inbox(user)}, nil
	}
	a, ok := accesses[user]
	if !ok {
		return Permissions{}, fault.Errorf(fault.Invalid, "user: must be one of %s", strings.Join(Users(), ", "))
	}
	p := Permissions{
		// Everything declared may be looked at: a service checks at its start that all is as it should be.
		Publish:   []string{"$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.*.*", prefixDeadLetter + user + ".*"},
		Subscribe: append(inbox(user), a.hears...),
		Answers:   a.answers,
	}
	p.Publish = append(p.Publish, t.ownedBy(user)...)
	p.Publish = append(append(p.Publish, a.writes...), a.asks...)
	for _, s := range append(a.looks, t.follows(user)...) {
		p.Publish = append(p.Publish, lookSubjects(s)...)
	}
	for _, s := range t.follows(user) {
		p.Publish = append(p.Publish, followSubjects(s)...)
		p.DenyPublish = append(p.DenyPublish, t.durablesOfOthers(user, s)...)
	}
	for _, s := range a.purges {
		p.Publish = append(p.Publish, "$JS.API.STREAM.PURGE."+s, "$JS.API.STREAM.MSG.DELETE."+s)
	}
	for _, s := range a.admin {
		p.Publish = append(p.Publish, "$JS.API."+s)
	}
	for _, c := range t.consumers {
		if c.Service == user {
			p.Publish = append(p.Publish, lookSubjects(c.Stream)...)
			p.Publish = append(p.Publish, durableSubjects(c.Stream, c.Config.Durable)...)
		}
	}
	slices.Sort(p.Publish)
	p.Publish = slices.Compact(p.Publish)
	slices.Sort(p.DenyPublish)
	return p, nil
}

func inbox(user string) []string { return []string{"_INBOX_" + user + ".>"} }

func provisionSubjects() []string {
	return []string{
		"$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.LEADER.STEPDOWN.*",
		"$JS.API.CONSUMER.INFO.*.*", "$JS.API.CONSUMER.CREATE.>",
	}
}

// ownedBy returns the subjects that a service publishes on because it writes the stream, bucket or store.
func (t *Topology) ownedBy(service string) []string {
	var out []string
	for _, s := range t.streams {
		if writer(s.writer) == service {
			out = append(out, s.config.Subjects...)
		}
	}
	for _, b := range t.buckets {
		if b.writer == service {
			out = append(out, "$KV."+b.config.Bucket+".>")
		}
	}
	for _, o := range t.objects {
		if o.writer == service {
			// A store removes the parts of an object that was replaced.
			out = append(out, "$O."+o.config.Bucket+".>", "$JS.API.STREAM.PURGE."+objectStream(o.config.Bucket))
		}
	}
	return out
}

// writer takes the service out of a description like "rule (gateways change claims only)".
func writer(text string) string {
	service, _, _ := strings.Cut(text, " ")
	return service
}

// follows returns what a service reads with short-lived consumers: its own buckets and stores, the accounts, and
// what the table says.
func (t *Topology) follows(service string) []string {
	out := []string{bucketStream(BucketAccounts)}
	for _, b := range t.buckets {
		if b.writer == service && b.config.Bucket != BucketAccounts {
			out = append(out, bucketStream(b.config.Bucket))
		}
	}
	for _, o := range t.objects {
		if o.writer == service {
			out = append(out, objectStream(o.config.Bucket))
		}
	}
	return append(out, accesses[service].follows...)
}

func lookSubjects(stream string) []string {
	return []string{"$JS.API.DIRECT.GET." + stream, "$JS.API.DIRECT.GET." + stream + ".>", "$JS.API.STREAM.MSG.GET." + stream}
}

func followSubjects(stream string) []string {
	return []string{
		"$JS.API.CONSUMER.CREATE." + stream, "$JS.API.CONSUMER.CREATE." + stream + ".>", "$JS.API.CONSUMER.DELETE." + stream + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + stream + ".*", "$JS.FC." + stream + ".>",
	}
}

// durableSubjects are the requests for messages, and the acknowledgements in the form of servers before and since
// accounts of other domains can be told apart.
func durableSubjects(stream, durable string) []string {
	name := stream + "." + durable
	return []string{"$JS.API.CONSUMER.MSG.NEXT." + name, "$JS.ACK." + name + ".>", "$JS.ACK.*.*." + name + ".>"}
}

// durablesOfOthers keeps a service that may make consumers on a stream from taking the work of another: the name
// of a durable is part of one token, so it cannot be left out by a pattern.
func (t *Topology) durablesOfOthers(service, stream string) []string {
	var out []string
	for _, c := range t.consumers {
		if c.Stream == stream && c.Service != service {
			name := stream + "." + c.Config.Durable
			out = append(out, "$JS.API.CONSUMER.MSG.NEXT."+name, "$JS.API.CONSUMER.DELETE."+name,
				"$JS.API.CONSUMER.CREATE."+name, "$JS.API.CONSUMER.CREATE."+name+".>")
		}
	}
	return out
}

// ServerUsers returns the block "authorization" of the configuration of a NATS server: one user for each service,
// with its permissions. Passwords come from the environment of the server, NATS_PASSWORD_<USER>.
func (t *Topology) ServerUsers() (string, error) {
	var b strings.Builder
	b.WriteString("# Generated from pkg/topology; do not edit. Passwords come from the environment.\nauthorization {\n  users: [\n")
	for _, user := range Users() {
		p, err := t.Permissions(user)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "    {\n      user: %q\n      password: $%s\n      permissions: {\n        publish: {\n", user, PasswordVariable(user))
		writeList(&b, "allow", p.Publish)
		writeList(&b, "deny", p.DenyPublish)
		b.WriteString("        }\n        subscribe: {\n")
		writeList(&b, "allow", p.Subscribe)
		b.WriteString("        }\n")
		if p.Answers {
			b.WriteString("        allow_responses: {max: 1, expires: \"30s\"}\n")
		}
		b.WriteString("      }\n    }\n")
	}
	b.WriteString("  ]\n}\n")
	return b.String(), nil
}

// PasswordVariable returns the name of the environment variable with which a server knows the password of a user.
func PasswordVariable(user string) string {
	return "NATS_PASSWORD_" + strings.ToUpper(strings.ReplaceAll(user, "-", "_"))
}

func writeList(b *strings.Builder, name string, subjects []string) {
	if len(subjects) == 0 {
		return
	}
	fmt.Fprintf(b, "          %s: [\n", name)
	for _, s := range subjects {
		fmt.Fprintf(b, "            %q\n", s)
	}
	b.WriteString("          ]\n")
}
