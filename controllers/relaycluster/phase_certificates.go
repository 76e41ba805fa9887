package relaycluster

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/pki"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// pollSecrets is how often Secrets of the user's are read again. They are not
// watched: that would take the right to every Secret there is.
const pollSecrets = 5 * time.Minute

// certificates finds out which certificates there are, makes those that are
// missing or due, and leaves them to the phases that apply. A Secret of the
// user's that cannot be used is told in the status and does not keep the rest
// from being applied as it is stored.
func (r *Reconciler) certificates(ctx context.Context, s *scope) error {
	state, err := r.storedCertificates(ctx, s, s.storedSecret)
	if err != nil {
		return err
	}
	wanted := s.wantedCertificates(state)
	if s.tls == nil && !s.cluster.Spec.Paused && pki.Plan(state, wanted, s.now).Action != pki.None {
		// The cache may be behind, and what was made a moment ago must not be made
		// again.
		if state, err = r.storedCertificates(ctx, s, r.liveSecret); err != nil {
			return err
		}
		if state, err = ensureCertificates(ctx, state, wanted, s.now); err != nil {
			return err
		}
	}
	s.keepCertificates(state)
	s.rotation, s.held = pki.Waits(state, wanted, s.now), state.Divided()
	if next := pki.NextChange(state, wanted); !next.IsZero() && !s.cluster.Spec.Paused {
		s.lookAgain(next.Sub(s.now))
	}
	if s.rotation != "" && slices.ContainsFunc(s.sets, func(set resources.Set) bool { return !set.IsPrivateReachable() }) {
		s.lookAgain(pollSecrets) // what those have loaded is a matter of time
	}
	return r.checkPublic(ctx, s)
}

// wantedCertificates returns what certificates the cluster is to have. Where the spec
// is refused those that it has are to stay, for the same names.
func (s *scope) wantedCertificates(stored pki.State) pki.Wanted {
	w := pki.Wanted{Names: map[string][]string{}}
	w.Validity, w.RenewBefore = s.cluster.Spec.TLS.Internal.LeafLife()
	if s.cluster.Spec.ExternalRoot != nil || len(s.cluster.Spec.TLS.Internal.TrustSecretRefs) > 0 {
		w.Copied = fmt.Sprintf("%s of ConfigMap %s", resources.FileTrust, resources.TrustName(s.cluster.Name))
	}
	if s.isRefused {
		if w.Validity <= w.RenewBefore || w.RenewBefore <= 0 {
			w.Validity, w.RenewBefore = v1alpha1.DefaultValidity, v1alpha1.DefaultRenewBefore
		}
		for key, leaf := range stored.Leaves {
			w.Names[key] = leaf.Names()
		}
		w.RotateAuthority, w.RotateLeaves = stored.Authority.Wish, ""
		return w
	}
	for _, set := range s.sets {
		w.Names[set.Key()] = set.CertificateNames()
	}
	w.RotateAuthority = s.cluster.Annotations[v1alpha1.AnnotationRotateCA]
	w.RotateLeaves = s.cluster.Annotations[v1alpha1.AnnotationRotateCertificates]
	return w
}

// secretReader returns a Secret of the cluster's namespace, an empty one if there
// is none.
type secretReader func(ctx context.Context, s *scope, name string) (*corev1.Secret, error)

// storedSecret returns a Secret of the cluster's own as the inventory has it.
func (s *scope) storedSecret(_ context.Context, _ *scope, name string) (*corev1.Secret, error) {
	if secret, ok := apply.Get[*corev1.Secret](s.children, name); ok {
		return secret, nil
	}
	return &corev1.Secret{}, nil
}

// liveSecret asks the API server.
func (r *Reconciler) liveSecret(ctx context.Context, s *scope, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.cluster.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Secret %q: %w", name, err)
	}
	return secret, nil
}

// storedCertificates reads what is stored, and adds what nodes have loaded of it.
// What cannot be used of the operator's own is left out, to be made anew.
func (r *Reconciler) storedCertificates(ctx context.Context, s *scope, read secretReader) (pki.State, error) {
	state := pki.State{Leaves: map[string]*pki.Pair{}, LeafWishes: map[string]string{}}
	for _, set := range s.sets {
		secret, err := read(ctx, s, set.CertificateName())
		if err != nil {
			return pki.State{}, err
		}
		if leaf, err := pki.PairOf(secret.Data); err == nil {
			state.Leaves[set.Key()] = leaf
			state.LeafWishes[set.Key()] = secret.Annotations[v1alpha1.AnnotationRotateCertificates]
		}
	}
	if err := r.readAuthority(ctx, s, read, &state); err != nil {
		return pki.State{}, err
	}
	if r.Nodes == nil {
		return state, nil
	}
	state.Nodes = s.loaded(state)
	var trusted []*x509.Certificate
	if stored, ok := apply.Get[*corev1.ConfigMap](s.children, resources.TrustName(s.cluster.Name)); ok {
		trusted, _ = pki.ParseCertificates([]byte(stored.Data[resources.FileTrust])) // none where somebody broke it
	}
	return pki.KeepLegacy(state, s.wantedCertificates(state), trusted, s.now), nil
}

// readAuthority reads what signs.
func (r *Reconciler) readAuthority(ctx context.Context, s *scope, read secretReader, state *pki.State) error {
	if s.cluster.Spec.TLS.Internal.Mode == v1alpha1.InternalSecret {
		return r.readUserAuthority(ctx, s, state)
	}
	secret, err := read(ctx, s, resources.AuthorityName(s.cluster.Name))
	if err != nil {
		return err
	}
	if authority, err := pki.AuthorityOf(secret.Data); err == nil {
		authority.Wish = secret.Annotations[v1alpha1.AnnotationRotateCA]
		state.Authority = authority
	}
	return nil
}

// loaded returns what the nodes have loaded that a machine was found for: others
// begin with what is stored then. Of those that cannot be asked where they run it is
// a matter of time.
func (s *scope) loaded(stored pki.State) *pki.Nodes {
	nodes := pki.Nodes{}
	for _, set := range s.sets {
		for _, pod := range s.podsOf(set) {
			if pod.Spec.NodeName == "" && pod.Status.PodIP == "" || pod.DeletionTimestamp != nil {
				continue
			}
			node := pki.Node{Name: pod.Name, Set: set.Key(), Ready: isReady(pod)}
			switch is := s.said[pod.UID]; {
			case is.known():
				node.Trust, node.Serves = is.Trust, is.Serves(0)
			case !set.IsPrivateReachable() && !stored.Authority.External:
				node.Trust, node.Serves = stored.SurelyLoaded(set.Key(), s.now)
			default:
				node.Silent = is.err.Error()
			}
			nodes = append(nodes, node)
		}
	}
	slices.SortFunc(nodes, func(a, b pki.Node) int { return strings.Compare(a.Name, b.Name) })
	return &nodes
}

// readUserAuthority reads the authority that the spec names.
func (r *Reconciler) readUserAuthority(ctx context.Context, s *scope, state *pki.State) error {
	s.lookAgain(pollSecrets)
	secret, err := r.userSecret(ctx, s, "spec.tls.internal.caSecretRef", s.cluster.Spec.TLS.Internal.CASecretRef.Name)
	if err != nil || secret == nil {
		return err
	}
	authority, err := pki.ExternalAuthorityOf(secret.Data, s.now)
	if err != nil {
		s.tls = secretProblem(v1alpha1.ReasonSecretInvalid, "spec.tls.internal.caSecretRef", s.cluster.Spec.TLS.Internal.CASecretRef.Name, err)
		return nil
	}
	state.Authority = authority
	s.endsSoon(authority.Current.Certificate, "spec.tls.internal.caSecretRef", s.cluster.Spec.TLS.Internal.CASecretRef.Name,
		fmt.Sprintf("store a newer authority, and keep this one in %s for a while", pki.KeyTrust))
	return nil
}

// userSecret reads a Secret that a field of the spec names. If there is none it
// puts that down as a problem, and returns nil.
func (r *Reconciler) userSecret(ctx context.Context, s *scope, field, name string) (*corev1.Secret, error) {
	secret, err := r.liveSecret(ctx, s, name)
	if err == nil && secret.UID == "" {
		secret = nil
		s.tls = &problem{
			Reason:  v1alpha1.ReasonSecretMissing,
			Message: fmt.Sprintf("%s: there is no Secret %q in namespace %q: create it, or name another", field, name, s.cluster.Namespace),
		}
		s.lookAgain(pollAwaited)
	}
	return secret, err
}

// changedAt returns when an object was written last.
func changedAt(o client.Object) time.Time {
	at := o.GetCreationTimestamp().Time
	for _, entry := range o.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(at) {
			at = entry.Time.Time
		}
	}
	return at
}

// secretProblem says what is wrong with a Secret that a field names.
func secretProblem(reason, field, name string, err error) *problem {
	return &problem{Reason: reason, Message: fmt.Sprintf("%s: Secret %q: %v", field, name, err)}
}

// ensureCertificates makes what is missing or due.
func ensureCertificates(ctx context.Context, state pki.State, wanted pki.Wanted, now time.Time) (pki.State, error) {
	state, steps, err := pki.Ensure(state, wanted, now, rand.Reader)
	if err != nil {
		return pki.State{}, err
	}
	for _, step := range steps {
		log.FromContext(ctx).Info("certificates", "action", step.Action, "region", step.Set, "because", step.Reason)
	}
	return state, nil
}

// keepCertificates hands over what is to be stored.
func (s *scope) keepCertificates(state pki.State) {
	s.own = state.Authority.Own()
	s.input.Certificates = map[string]map[string][]byte{}
	for key, leaf := range state.Leaves {
		s.input.Certificates[key] = leaf.Data()
	}
	s.input.CertificateWishes, s.input.AuthorityWish = state.LeafWishes, state.Authority.Wish
	if state.Authority.Current != nil {
		s.input.Trust = state.Authority.Bundle()
		if !state.Authority.External {
			s.input.Authority = state.Authority.Data()
		}
		return
	}
	// The user's authority cannot be read: what is stored stays, and with it an
	// authority that it was to replace.
	if trust, ok := apply.Get[*corev1.ConfigMap](s.children, resources.TrustName(s.cluster.Name)); ok {
		s.input.Trust = []byte(trust.Data[resources.FileTrust])
	}
	if authority, ok := apply.Get[*corev1.Secret](s.children, resources.AuthorityName(s.cluster.Name)); ok {
		s.input.Authority = authority.Data
		s.input.AuthorityWish = authority.Annotations[v1alpha1.AnnotationRotateCA]
	}
}
