package v1alpha1

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	namePattern     = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	hostPattern     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	hostPortPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$`)
	durationPattern = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
	spacePattern    = regexp.MustCompile(`[[:space:]]`)
	flagPattern     = regexp.MustCompile(`^--[a-z]`)
	kindPattern     = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	servicePattern  = regexp.MustCompile(`(-tcp|-pod-[0-9]+)$`)
	podHostPattern  = regexp.MustCompile(`^[{]pod[}]([.][a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}$`)
	ownFlagPattern  = regexp.MustCompile(`^--(bind|private-bind|tls-cert|tls-key|tls-root|cluster-root|cluster-node|region|drain-timeout)(=|$)`)
)

// Validate returns what an API server would refuse of c, which has been
// defaulted. A message says what is wrong and the remedy, in the words of the
// schema.
func Validate(c *RelayCluster) field.ErrorList {
	var errs field.ErrorList
	name := field.NewPath("metadata", "name")
	switch {
	case len(c.Name) > 30:
		errs = append(errs, field.Invalid(name, c.Name, "metadata.name: longer than 30 characters: choose a shorter name, those of pods and Services are made from it"))
	case !namePattern.MatchString(c.Name):
		errs = append(errs, field.Invalid(name, c.Name, "metadata.name: use lower-case letters, digits and dashes, a letter first and no dash last, such as live"))
	}
	spec := field.NewPath("spec")
	errs = append(errs, validateImage(&c.Spec, spec)...)
	errs = append(errs, inRange(spec.Child("port"), int64(c.Spec.Port), 1, 65535)...)
	errs = append(errs, validateRoots(&c.Spec, spec)...)
	errs = append(errs, validateRegions(c.Spec.Regions, spec.Child("regions"))...)
	errs = append(errs, c.Spec.TLS.validate(spec.Child("tls"))...)
	errs = append(errs, validateIssued(&c.Spec, spec)...)
	errs = append(errs, c.Spec.Pod.validate(spec.Child("pod"))...)
	errs = append(errs, validateUpgrade(&c.Spec, spec)...)
	errs = append(errs, oneOf(spec.Child("disruption", "safeToEvict"), c.Spec.Disruption.SafeToEvict, EvictAlways, EvictNever, EvictOnUpgrade)...)
	errs = append(errs, c.Spec.Drain.validate(spec.Child("drain"))...)
	errs = append(errs, atMost(spec.Child("networkPolicy", "privateFrom"), len(c.Spec.NetworkPolicy.PrivateFrom), 16)...)
	return errs
}

func validateImage(s *RelayClusterSpec, spec *field.Path) field.ErrorList {
	errs := maxLength(spec.Child("image"), s.Image, 512)
	if spacePattern.MatchString(s.Image) {
		errs = append(errs, field.Invalid(spec.Child("image"), s.Image, "image: has a space in it: write it as registry/name:tag or registry/name@sha256:digest"))
	}
	errs = append(errs, oneOf(spec.Child("imagePullPolicy"), s.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	return append(errs, validateRefs(s.ImagePullSecrets, spec.Child("imagePullSecrets"), 16)...)
}

func validateRefs(refs []SecretRef, path *field.Path, most int) field.ErrorList {
	errs := atMost(path, len(refs), most)
	seen := map[string]bool{}
	for i, ref := range refs {
		errs = append(errs, ref.validate(path.Index(i))...)
		if seen[ref.Name] {
			errs = append(errs, field.Duplicate(path.Index(i), map[string]string{"name": ref.Name}))
		}
		seen[ref.Name] = true
	}
	return errs
}

func validateRoots(s *RelayClusterSpec, spec *field.Path) field.ErrorList {
	errs := append(s.Root.validate(spec.Child("root")), s.ExternalRoot.validate(spec.Child("externalRoot"))...)
	if (s.Root != nil) == (s.ExternalRoot != nil) {
		errs = append(errs, field.Invalid(spec, "", "root: want exactly one of root and externalRoot: set root to {} for a cluster of its own, or name in externalRoot the root to join"))
	}
	return errs
}

func (r *ExternalRoot) validate(path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	hosts := path.Child("hosts")
	var errs field.ErrorList
	switch {
	case r.Hosts == nil:
		errs = append(errs, field.Required(hosts, ""))
	case len(r.Hosts) == 0:
		errs = append(errs, field.Invalid(hosts, 0, hosts.String()+" in body should have at least 1 items"))
	}
	errs = append(errs, validateSet(hosts, r.Hosts, 3, 260, hostPortPattern.MatchString,
		"hosts: want lower-case host names, without scheme and with the port if it is not 443, such as root.example.com:4443")...)
	if r.CASecretRef != nil {
		errs = append(errs, r.CASecretRef.validate(path.Child("caSecretRef"))...)
	}
	return errs
}

func (r *Root) validate(path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	errs := inRange(path.Child("replicas"), int64(r.Replicas), 1, 3)
	errs = append(errs, r.Exposure.validate(path.Child("exposure"))...)
	return append(errs, r.Pod.validate(path.Child("pod"))...)
}

func validateRegions(regions []Region, path *field.Path) field.ErrorList {
	errs := atMost(path, len(regions), 32)
	seen := map[string]bool{}
	for i := range regions {
		errs = append(errs, regions[i].validate(path.Index(i))...)
		if name := regions[i].Name; seen[name] {
			errs = append(errs, field.Duplicate(path.Index(i), map[string]string{"name": name}))
		}
		seen[regions[i].Name] = true
	}
	return errs
}

func (r *Region) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	name := path.Child("name")
	switch {
	case len(r.Name) > 20:
		errs = append(errs, field.TooLong(name, r.Name, 20))
	case !namePattern.MatchString(r.Name):
		errs = append(errs, field.Invalid(name, r.Name, "name: use lower-case letters, digits and dashes, a letter first and no dash last, such as eu or us-east"))
	case r.Name == "root":
		errs = append(errs, field.Invalid(name, r.Name, "name: root is taken by spec.root: choose another name"))
	case servicePattern.MatchString(r.Name):
		errs = append(errs, field.Invalid(name, r.Name, "name: names that end in -tcp, or in -pod- and a number, are taken by the Services of load balancers: choose another name"))
	case strings.HasSuffix(r.Name, "-nodes"):
		errs = append(errs, field.Invalid(name, r.Name, "name: names that end in -nodes are taken by the Services of nodes: choose another name"))
	}
	if r.Replicas != nil && r.Autoscaling != nil {
		errs = append(errs, field.Invalid(path, r.Name, "replicas and autoscaling exclude each other: drop replicas, or drop autoscaling"))
	}
	if r.Replicas != nil {
		errs = append(errs, inRange(path.Child("replicas"), int64(*r.Replicas), 0, 1000)...)
	}
	if r.MaxUnavailable != nil {
		errs = append(errs, inRange(path.Child("maxUnavailable"), int64(*r.MaxUnavailable), 1, 1000)...)
	}
	errs = append(errs, r.Autoscaling.validate(path.Child("autoscaling"))...)
	errs = append(errs, r.Exposure.validate(path.Child("exposure"))...)
	return append(errs, r.Pod.validate(path.Child("pod"))...)
}

func (a *Autoscaling) validate(path *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	errs := inRange(path.Child("minReplicas"), int64(a.MinReplicas), 1, 1000)
	errs = append(errs, inRange(path.Child("maxReplicas"), int64(a.MaxReplicas), 1, 1000)...)
	if a.MinReplicas > a.MaxReplicas {
		errs = append(errs, field.Invalid(path, a.MinReplicas, "minReplicas: greater than maxReplicas: lower minReplicas or raise maxReplicas"))
	}
	if a.CPUUtilization == nil && a.SessionsPerPod == nil && a.EgressBitsPerSecondPerPod == nil && len(a.Metrics) == 0 {
		errs = append(errs, field.Invalid(path, "", "cpuUtilization: nothing to scale by: set cpuUtilization, for example to 60, sessionsPerPod, egressBitsPerSecondPerPod or metrics"))
	}
	if a.CPUUtilization != nil {
		errs = append(errs, inRange(path.Child("cpuUtilization"), int64(*a.CPUUtilization), 1, 1000)...)
	}
	if a.SessionsPerPod != nil {
		errs = append(errs, inRange(path.Child("sessionsPerPod"), int64(*a.SessionsPerPod), 1, 1000000)...)
	}
	if a.EgressBitsPerSecondPerPod != nil {
		errs = append(errs, inRange(path.Child("egressBitsPerSecondPerPod"), *a.EgressBitsPerSecondPerPod, 1000, 1000000000000)...)
	}
	return append(errs, atMost(path.Child("metrics"), len(a.Metrics), 8)...)
}

func validateUpgrade(s *RelayClusterSpec, spec *field.Path) field.ErrorList {
	canary := s.Upgrade.CanaryRegion
	errs := maxLength(spec.Child("upgrade", "canaryRegion"), canary, 20)
	if canary != "" && !slices.ContainsFunc(s.Regions, func(r Region) bool { return r.Name == canary }) {
		errs = append(errs, field.Invalid(spec, canary, "upgrade.canaryRegion: no region has this name: name one of spec.regions, or drop it to take the first"))
	}
	return errs
}

func (d *Drain) validate(path *field.Path) field.ErrorList {
	errs := inRange(path.Child("goawaySeconds"), d.GoawaySeconds, 5, 86400)
	errs = append(errs, inRange(path.Child("terminationGracePeriodSeconds"), d.TerminationGracePeriodSeconds, 5, 86400)...)
	if d.GoawaySeconds >= d.TerminationGracePeriodSeconds {
		errs = append(errs, field.Invalid(path, d.GoawaySeconds, "goawaySeconds: not less than terminationGracePeriodSeconds, so the relay would be killed while it drains: lower goawaySeconds or raise terminationGracePeriodSeconds"))
	}
	return errs
}

func (t *TLS) validate(path *field.Path) field.ErrorList {
	errs := t.Internal.validate(path.Child("internal"))
	return append(errs, t.Public.validate(path.Child("public"))...)
}

func (t *PublicTLS) validate(path *field.Path) field.ErrorList {
	if t == nil {
		return nil
	}
	var errs field.ErrorList
	if (t.SecretRef != nil) == (t.IssuerRef != nil) {
		errs = append(errs, field.Invalid(path, "", "secretRef: want exactly one of secretRef and issuerRef: name in secretRef a Secret that you keep filled, or in issuerRef the issuer that cert-manager is to ask"))
	}
	if t.SecretRef != nil {
		errs = append(errs, t.SecretRef.validate(path.Child("secretRef"))...)
	}
	return append(errs, t.IssuerRef.validate(path.Child("issuerRef"))...)
}

func (r *IssuerRef) validate(path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if r.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	errs = append(errs, maxLength(path.Child("name"), r.Name, 253)...)
	errs = append(errs, maxLength(path.Child("kind"), r.Kind, 63)...)
	errs = append(errs, maxLength(path.Child("group"), r.Group, 253)...)
	if !kindPattern.MatchString(r.Kind) {
		errs = append(errs, field.Invalid(path.Child("kind"), r.Kind, "kind: want that of an issuer, such as Issuer or ClusterIssuer"))
	}
	if !hostPattern.MatchString(r.Group) {
		errs = append(errs, field.Invalid(path.Child("group"), r.Group, "group: want an API group, such as cert-manager.io"))
	}
	if r.Group == GroupCertManager && r.Kind != IssuerNamespaced && r.Kind != IssuerCluster {
		errs = append(errs, field.Invalid(path, r.Kind, "kind: cert-manager has no issuers of this kind: set kind to Issuer or ClusterIssuer, or set group to that of the issuer"))
	}
	return errs
}

// validateIssued checks what a certificate needs that is to be issued.
func validateIssued(s *RelayClusterSpec, spec *field.Path) field.ErrorList {
	if s.TLS.Public == nil || s.TLS.Public.IssuerRef == nil {
		return nil
	}
	var errs field.ErrorList
	named := s.Root != nil && len(s.Root.Exposure.Hostnames) > 0
	for _, r := range s.Regions {
		named = named || len(r.Exposure.Hostnames) > 0
		if r.Name == "public" {
			errs = append(errs, field.Invalid(spec, r.Name, "tls.public.issuerRef: a region named public has the Secret that the certificate would be kept in: choose another name for the region, or have the certificate issued into a Secret of your own and name it in secretRef"))
		}
	}
	if !named {
		errs = append(errs, field.Invalid(spec, "", "tls.public.issuerRef: no name to have a certificate issued for: set exposure.hostnames of a region or of the root, such as eu.example.com, or drop issuerRef"))
	}
	return errs
}

func (t *InternalTLS) validate(path *field.Path) field.ErrorList {
	errs := oneOf(path.Child("mode"), t.Mode, InternalSecret, InternalSelfSigned)
	switch {
	case t.Mode != InternalSecret && t.CASecretRef != nil:
		errs = append(errs, field.Invalid(path, t.Mode, "caSecretRef: does nothing in this mode: set mode to Secret, or drop it"))
	case t.Mode == InternalSecret && t.CASecretRef == nil:
		errs = append(errs, field.Invalid(path, t.Mode, "caSecretRef: missing in mode Secret: name the Secret with tls.crt and tls.key of your authority, or set mode to SelfSigned"))
	}
	if t.Mode != InternalSelfSigned && t.SelfSigned != nil {
		errs = append(errs, field.Invalid(path, t.Mode, "selfSigned: does nothing in this mode: set mode to SelfSigned, or drop it"))
	}
	if t.CASecretRef != nil {
		errs = append(errs, t.CASecretRef.validate(path.Child("caSecretRef"))...)
	}
	errs = append(errs, validateRefs(t.TrustSecretRefs, path.Child("trustSecretRefs"), 8)...)
	return append(errs, t.SelfSigned.validate(path.Child("selfSigned"))...)
}

func (s *SelfSigned) validate(path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := append(s.Validity.validate(path.Child("validity")), s.RenewBefore.validate(path.Child("renewBefore"))...)
	if len(errs) > 0 {
		return errs
	}
	validity, renewBefore := s.Validity.Value(), s.RenewBefore.Value()
	for _, rule := range []struct {
		broken  bool
		message string
	}{
		{validity > 336*time.Hour, "validity: more than 336h, and browsers pin no certificate that lives longer than 14 days: lower it to 336h or less"},
		{validity < time.Hour, "validity: less than 1h: raise it, 240h is the default"},
		{renewBefore >= validity, "renewBefore: not less than validity, so certificates would be renewed without end: lower renewBefore or raise validity"},
		{renewBefore < 5*time.Minute, "renewBefore: less than 5m, too late for nodes to load the new certificate: raise it, 80h is the default"},
	} {
		if rule.broken {
			errs = append(errs, field.Invalid(path, *s, rule.message))
		}
	}
	return errs
}

func (d Duration) validate(path *field.Path) field.ErrorList {
	errs := maxLength(path, string(d), 32)
	if !durationPattern.MatchString(string(d)) {
		errs = append(errs, field.Invalid(path, d, "want a length of time such as 240h, 90m or 1h30m"))
	}
	return errs
}

func (r *SecretRef) validate(path *field.Path) field.ErrorList {
	if r.Name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "")}
	}
	return maxLength(path.Child("name"), r.Name, 253)
}

func (p *PodSettings) validate(path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := atMost(path.Child("nodeSelector"), len(p.NodeSelector), 32)
	errs = append(errs, atMost(path.Child("tolerations"), len(p.Tolerations), 32)...)
	errs = append(errs, atMost(path.Child("topologySpreadConstraints"), len(p.TopologySpreadConstraints), 8)...)
	errs = append(errs, atMost(path.Child("labels"), len(p.Labels), 64)...)
	errs = append(errs, atMost(path.Child("annotations"), len(p.Annotations), 64)...)
	errs = append(errs, maxLength(path.Child("priorityClassName"), p.PriorityClassName, 253)...)
	for key := range p.Labels {
		if strings.HasPrefix(key, "moqrelay.io/") || strings.HasPrefix(key, "app.kubernetes.io/") {
			errs = append(errs, field.Invalid(path.Child("labels"), key, "labels: those that begin with moqrelay.io/ or app.kubernetes.io/ are the operator's: choose other names"))
		}
	}
	errs = append(errs, validateEnv(p.ExtraEnv, path.Child("extraEnv"))...)
	return append(errs, validateArgs(p.ExtraArgs, path.Child("extraArgs"))...)
}

func validateEnv(env []corev1.EnvVar, path *field.Path) field.ErrorList {
	errs := atMost(path, len(env), 64)
	seen := map[string]bool{}
	for i, e := range env {
		switch {
		case e.Name == "":
			errs = append(errs, field.Required(path.Index(i).Child("name"), ""))
		case e.Name == "POD_NAME":
			errs = append(errs, field.Invalid(path, e.Name, "extraEnv: POD_NAME is the operator's, the relay's name is made from it: choose another name"))
		case seen[e.Name]:
			errs = append(errs, field.Duplicate(path.Index(i), map[string]string{"name": e.Name}))
		}
		seen[e.Name] = true
	}
	return errs
}

func validateArgs(args []string, path *field.Path) field.ErrorList {
	errs := atMost(path, len(args), 32)
	for i, a := range args {
		errs = append(errs, maxLength(path.Index(i), a, 512)...)
		if !flagPattern.MatchString(a) {
			errs = append(errs, field.Invalid(path, a, "extraArgs: want one flag per item, such as --max-sessions=2000"))
		}
		if ownFlagPattern.MatchString(a) {
			errs = append(errs, field.Invalid(path, a, "extraArgs: --bind, --private-bind, --tls-cert, --tls-key, --tls-root, --cluster-root, --cluster-node, --region and --drain-timeout are the operator's: use the fields of the spec"))
		}
	}
	return errs
}

// validateSet checks a list of different strings.
func validateSet(path *field.Path, items []string, most, longest int, ok func(string) bool, message string) field.ErrorList {
	errs := atMost(path, len(items), most)
	for i, item := range items {
		errs = append(errs, maxLength(path.Index(i), item, longest)...)
		if !ok(item) {
			errs = append(errs, field.Invalid(path, item, message))
		}
		if slices.Contains(items[:i], item) {
			errs = append(errs, field.Duplicate(path.Index(i), item))
		}
	}
	return errs
}

func inRange(path *field.Path, value, least, greatest int64) field.ErrorList {
	switch {
	case value < least:
		return field.ErrorList{field.Invalid(path, value, fmt.Sprintf("%s in body should be greater than or equal to %d", path, least))}
	case value > greatest:
		return field.ErrorList{field.Invalid(path, value, fmt.Sprintf("%s in body should be less than or equal to %d", path, greatest))}
	default:
		return nil
	}
}

func atMost(path *field.Path, n, most int) field.ErrorList {
	if n > most {
		return field.ErrorList{field.TooMany(path, n, most)}
	}
	return nil
}

func maxLength(path *field.Path, value string, most int) field.ErrorList {
	if len([]rune(value)) > most {
		return field.ErrorList{field.TooLong(path, value, most)}
	}
	return nil
}

func oneOf[T ~string](path *field.Path, value T, values ...T) field.ErrorList {
	if slices.Contains(values, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, values)}
}
