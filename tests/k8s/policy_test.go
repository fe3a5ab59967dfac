package k8s

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wxbus/wxbus/pkg/config"
	"github.com/wxbus/wxbus/pkg/topology"
)

// workload is what the rules look at in a Deployment, StatefulSet or Job.
type workload struct {
	id   string
	kind string
	name string

	Spec struct {
		Replicas *int
		Selector struct{ MatchLabels map[string]string }
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
		VolumeClaimTemplates []struct {
			Spec struct {
				Resources struct{ Requests struct{ Storage string } }
			}
		}
	}
}

type podSpec struct {
	AutomountServiceAccountToken  *bool
	EnableServiceLinks            *bool
	HostNetwork, HostPID, HostIPC bool
	TerminationGracePeriodSeconds int
	TopologySpreadConstraints     []any
	SecurityContext               struct {
		RunAsNonRoot   bool
		RunAsUser      int
		SeccompProfile struct{ Type string }
	}
	InitContainers, Containers []container
	Volumes                    []map[string]any
}

type container struct {
	Name, Image string
	Command     []string
	Args        []string
	Env         []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct{ Name, Key string }
		}
	}
	EnvFrom []struct{ SecretRef struct{ Name string } }
	Ports   []struct {
		Name          string
		ContainerPort int
	}
	StartupProbe, ReadinessProbe, LivenessProbe *probe
	Lifecycle                                   struct {
		PreStop struct {
			Sleep struct{ Seconds int }
			Exec  struct{ Command []string }
		}
	}
	Resources    struct{ Requests, Limits map[string]string }
	VolumeMounts []mount

	SecurityContext struct {
		AllowPrivilegeEscalation *bool
		ReadOnlyRootFilesystem   bool
		Privileged               bool
		Capabilities             struct{ Add, Drop []string }
	}
}

type mount struct {
	Name, MountPath, SubPath string
	ReadOnly                 bool
}

type probe struct {
	HTTPGet struct{ Path string }
}

func workloads(t *testing.T, objects []object, kinds ...string) []workload {
	t.Helper()
	if len(kinds) == 0 {
		kinds = []string{"Deployment", "StatefulSet", "Job"}
	}
	var out []workload
	for _, o := range kind(objects, kinds...) {
		w := workload{id: o.id(), kind: o.Kind, name: o.Metadata.Name}
		o.decode(t, &w)
		out = append(out, w)
	}
	return out
}

// main returns the container that is called like the workload: components add others.
func (w workload) main(t *testing.T) container {
	t.Helper()
	all := w.Spec.Template.Spec.Containers
	i := slices.IndexFunc(all, func(c container) bool { return c.Name == w.name })
	require.GreaterOrEqual(t, i, 0, w.id)
	return all[i]
}

func (c container) variable(name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// volumes that a restricted namespace allows.
var volumeKinds = []string{"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}

func TestPodsMayRunInARestrictedNamespace(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(t, objects) {
			p := w.Spec.Template.Spec
			require.True(t, p.SecurityContext.RunAsNonRoot, w.id)
			require.NotZero(t, p.SecurityContext.RunAsUser, w.id)
			require.Equal(t, "RuntimeDefault", p.SecurityContext.SeccompProfile.Type, w.id)
			require.False(t, p.HostNetwork || p.HostPID || p.HostIPC, w.id)
			require.NotNil(t, p.AutomountServiceAccountToken, w.id)
			require.False(t, *p.AutomountServiceAccountToken, "%s: nothing calls the API server", w.id)
			require.NotNil(t, p.EnableServiceLinks, w.id)
			require.False(t, *p.EnableServiceLinks, "%s: the variables of a Service look like settings", w.id)
			for _, v := range p.Volumes {
				for field := range v {
					require.True(t, field == "name" || slices.Contains(volumeKinds, field), "%s: volume %s", w.id, field)
				}
			}
			for _, c := range slices.Concat(p.InitContainers, p.Containers) {
				s := c.SecurityContext
				require.False(t, s.Privileged, w.id)
				require.NotNil(t, s.AllowPrivilegeEscalation, w.id)
				require.False(t, *s.AllowPrivilegeEscalation, w.id)
				require.True(t, s.ReadOnlyRootFilesystem, w.id)
				require.Equal(t, []string{"ALL"}, s.Capabilities.Drop, w.id)
				require.Empty(t, s.Capabilities.Add, w.id)
			}
		}
		ns := find(t, objects, "Namespace", "wxbus")
		require.Equal(t, "restricted", ns.Metadata.Labels["pod-security.kubernetes.io/enforce"])
	})
}

func TestEveryContainerHasBoundsAndAFixedImage(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(t, objects) {
			for _, c := range w.Spec.Template.Spec.Containers {
				require.NotEmpty(t, c.Resources.Requests["cpu"], w.id)
				require.NotEmpty(t, c.Resources.Requests["memory"], w.id)
				require.NotEmpty(t, c.Resources.Limits["memory"], w.id)
				require.LessOrEqual(t, bytesOf(t, c.Resources.Requests["memory"]), bytesOf(t, c.Resources.Limits["memory"]), w.id)
				if goal := c.variable("GOMEMLIMIT"); goal != "" {
					require.Less(t, bytesOf(t, strings.TrimSuffix(goal, "B")), bytesOf(t, c.Resources.Limits["memory"]), w.id)
				}
				repository, tag, ok := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":")
				require.True(t, ok && tag != "" && tag != "latest", "%s: image %s needs a tag", w.id, c.Image)
				require.NotEqual(t, "wxbus/"+repository, strings.TrimSuffix(c.Image, ":"+tag), "%s: the overlay names no registry", w.id)
			}
		}
	})
}

func TestProbesTellStartReadyAndAlive(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(t, objects, "Deployment", "StatefulSet") {
			for _, c := range w.Spec.Template.Spec.Containers {
				require.NotNil(t, c.StartupProbe, w.id)
				require.NotNil(t, c.ReadinessProbe, w.id)
				require.NotNil(t, c.LivenessProbe, w.id)
				require.NotEqual(t, "/readyz", c.LivenessProbe.HTTPGet.Path, "%s: readiness hangs on NATS, life must not", w.id)
			}
		}
	})
}

func TestABudgetCoversEveryWorkload(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		budgets := map[string]bool{}
		for _, o := range kind(objects, "PodDisruptionBudget") {
			var b struct {
				Spec struct {
					Selector struct{ MatchLabels map[string]string }
				}
			}
			o.decode(t, &b)
			for _, w := range workloads(t, objects, "Deployment", "StatefulSet") {
				if selects(b.Spec.Selector.MatchLabels, w.Spec.Template.Metadata.Labels) {
					budgets[w.id] = true
				}
			}
		}
		for _, w := range workloads(t, objects, "Deployment", "StatefulSet") {
			require.True(t, budgets[w.id], "%s has no PodDisruptionBudget", w.id)
			require.True(t, selects(w.Spec.Selector.MatchLabels, w.Spec.Template.Metadata.Labels), w.id)
		}
	})
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

func TestServicesPointAtPortsOfPods(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, o := range kind(objects, "Service") {
			var s struct {
				Spec struct {
					Selector map[string]string
					Ports    []struct{ TargetPort string }
				}
			}
			o.decode(t, &s)
			found := false
			for _, w := range workloads(t, objects, "Deployment", "StatefulSet") {
				if !selects(s.Spec.Selector, w.Spec.Template.Metadata.Labels) {
					continue
				}
				found = true
				var names []string
				for _, c := range w.Spec.Template.Spec.Containers {
					for _, p := range c.Ports {
						names = append(names, p.Name)
					}
				}
				for _, p := range s.Spec.Ports {
					require.Contains(t, names, p.TargetPort, "%s of %s", o.id(), w.id)
				}
			}
			require.True(t, found, "%s selects nothing", o.id())
		}
	})
}

// What a process still does after SIGTERM: a gateway lets passive waits end, a consumer finishes what it holds before
// JetStream gives it to another.
const (
	passiveWait = 5 * time.Second
	ackWait     = 30 * time.Second
	margin      = 10 * time.Second
)

func TestGracePeriodsFit(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for name, work := range map[string]time.Duration{
			"gateway": passiveWait, "console": passiveWait, "token": passiveWait,
			"rule": ackWait, "sender": ackWait, "agent-routing": ackWait,
		} {
			w := deployment(t, objects, name)
			sleep := time.Duration(w.main(t).Lifecycle.PreStop.Sleep.Seconds) * time.Second
			grace := time.Duration(w.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
			require.Positive(t, sleep, name)
			require.GreaterOrEqual(t, grace, sleep+work+margin, name)
		}
		nats := statefulSet(t, objects, "nats")
		lame := 35 * time.Second // lame_duck_duration and grace period of server.conf
		require.Contains(t, natsFiles(t, objects)["server.conf"], "lame_duck_duration: 30s\nlame_duck_grace_period: 5s")
		require.Greater(t, time.Duration(nats.Spec.Template.Spec.TerminationGracePeriodSeconds)*time.Second, lame+margin)
		require.Contains(t, nats.main(t).Lifecycle.PreStop.Exec.Command, "ldm=/run/nats/nats.pid")
	})
}

func deployment(t *testing.T, objects []object, name string) workload {
	t.Helper()
	return one(t, workloads(t, objects, "Deployment"), name)
}

func statefulSet(t *testing.T, objects []object, name string) workload {
	t.Helper()
	return one(t, workloads(t, objects, "StatefulSet"), name)
}

func one(t *testing.T, ws []workload, name string) workload {
	t.Helper()
	i := slices.IndexFunc(ws, func(w workload) bool { return w.name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return ws[i]
}

// natsFiles returns the configuration of the NATS servers by file.
func natsFiles(t *testing.T, objects []object) map[string]string {
	t.Helper()
	var cm struct{ Data map[string]string }
	find(t, objects, "ConfigMap", "nats-config").decode(t, &cm)
	return cm.Data
}

func TestTheStoreOfNATSIsBelowItsVolume(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		nats := statefulSet(t, objects, "nats")
		limit := bytesOf(t, nats.main(t).variable("STORE_LIMIT"))
		volume := bytesOf(t, nats.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage)
		require.LessOrEqual(t, limit, volume/10*9, "a full disk looks like silence")
		shared := sharedConfig(t, objects)
		require.LessOrEqual(t, int64(shared.NATS.MaxStore), limit, "nats.max_store is reserved on each server")
		require.Contains(t, natsFiles(t, objects)["server.conf"], "sync_interval: always")
		require.Equal(t, 3, *nats.Spec.Replicas)
		require.Equal(t, 3, shared.NATS.Replicas)
	})
}

// bytesOf reads sizes of Kubernetes, of NATS and of Go.
func bytesOf(t *testing.T, text string) int64 {
	t.Helper()
	units := map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "MB": 1 << 20, "GB": 1 << 30, "M": 1e6, "G": 1e9}
	for _, unit := range []string{"Ki", "Mi", "Gi", "MB", "GB", "M", "G"} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			require.NoError(t, err, text)
			return n * units[unit]
		}
	}
	t.Fatalf("size %q", text)
	return 0
}

func TestTheGatewayGrowsFastAndShrinksSlowly(t *testing.T) {
	var hpa struct {
		Spec struct {
			MinReplicas, MaxReplicas int
			Behavior                 struct {
				ScaleUp, ScaleDown struct{ StabilizationWindowSeconds int }
			}
		}
	}
	find(t, renderFolder(t, "deploy/k8s/services/gateway"), "HorizontalPodAutoscaler", "gateway").decode(t, &hpa)
	require.GreaterOrEqual(t, hpa.Spec.MinReplicas, 3)
	require.Zero(t, hpa.Spec.Behavior.ScaleUp.StabilizationWindowSeconds)
	require.GreaterOrEqual(t, hpa.Spec.Behavior.ScaleDown.StabilizationWindowSeconds, 300)
	require.Nil(t, deployment(t, render(t, "dev"), "gateway").Spec.Replicas, "each apply would undo what the autoscaler did")
}

type scaledObject struct {
	Spec struct {
		ScaleTargetRef                   struct{ Name string }
		MinReplicaCount, MaxReplicaCount int
		Advanced                         struct {
			ScalingModifiers struct{ Formula string }
		}
		Triggers []struct {
			Type, Name string
			Metadata   map[string]string
		}
	}
}

func TestKEDAWatchesTheDurablesThatThereAre(t *testing.T) {
	objects := render(t, "prod")
	shared := sharedConfig(t, objects)
	topo, err := topology.New(topology.Options{Partitions: shared.NATS.Partitions})
	require.NoError(t, err)
	known := map[string]bool{}
	for _, c := range topo.Consumers() {
		known[c.Stream+" "+c.Config.Durable] = true
	}
	scaled := map[string]bool{}
	for _, o := range kind(objects, "ScaledObject") {
		var s scaledObject
		o.decode(t, &s)
		deployment(t, objects, s.Spec.ScaleTargetRef.Name)
		scaled[s.Spec.ScaleTargetRef.Name] = true
		watched := 0
		for _, trigger := range s.Spec.Triggers {
			if trigger.Type != "nats-jetstream" {
				continue
			}
			watched++
			require.True(t, known[trigger.Metadata["stream"]+" "+trigger.Metadata["consumer"]], "%s: %v", o.id(), trigger.Metadata)
			require.Contains(t, s.Spec.Advanced.ScalingModifiers.Formula, trigger.Name, o.id())
		}
		if s.Spec.ScaleTargetRef.Name != "gateway" {
			require.Equal(t, shared.NATS.Partitions, watched, "%s: every partition counts", o.id())
			require.LessOrEqual(t, s.Spec.MaxReplicaCount, shared.NATS.Partitions, "%s: a partition has one reader", o.id())
		}
	}
	require.Equal(t, []string{"agent-routing", "gateway", "rule", "sender"}, slices.Sorted(maps.Keys(scaled)))
	for _, o := range kind(objects, "HorizontalPodAutoscaler") {
		require.False(t, scaled[o.Metadata.Name], "%s has two masters", o.id())
	}
}

// sharedConfig reads the part of wxbus.yaml that every process reads.
func sharedConfig(t *testing.T, objects []object) config.Shared {
	t.Helper()
	var shared config.Shared
	load := config.LoadOptions{File: "wxbus.yaml", Content: []byte(wxbusFile(t, objects)), Env: variables(accountVariables)}
	require.NoError(t, config.Load(t.Context(), load, &shared))
	return shared
}

func wxbusFile(t *testing.T, objects []object) string {
	t.Helper()
	var cm struct{ Data map[string]string }
	find(t, objects, "ConfigMap", "wxbus-config").decode(t, &cm)
	return cm.Data["wxbus.yaml"]
}

// accountVariables stand for the Secret wxbus-accounts of the overlays.
var accountVariables = map[string]string{
	"SHOP_TOKEN": "shoptoken", "SHOP_AES_KEY": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "SHOP_SECRET": "secret",
	"CLUB_TOKEN": "clubtoken", "CLUB_AES_KEY": "9876543210zyxwvutsrqponmlkjihgfedcbaABCDEFG", "CLUB_SECRET": "secret",
}

func variables(m map[string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, fmt.Sprintf("%s=%s", k, v))
	}
	return out
}
