package relaycluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
)

// Reconciler makes the objects of RelayClusters.
type Reconciler struct {
	// Client reads from the cache, which holds RelayClusters and what belongs to
	// them.
	Client client.Client
	// Live reads from the API server what the cache does not hold: the Secrets
	// that a RelayCluster names.
	Live client.Reader
	// Nodes asks relays.
	Nodes Nodes
	// Steps measures rollouts; nil measures nothing.
	Steps *stepTimer
	// Applier writes objects.
	Applier *apply.Applier
	// Recorder writes events.
	Recorder events.EventRecorder
	// Image is for RelayClusters that name none.
	Image string
	// AllowedHostnameSuffixes are the domains under which hostnames may be; empty
	// is any.
	AllowedHostnameSuffixes []string
	// AllowedIssuerKinds are the kinds of issuers that may be asked; empty is
	// none. One of another group than cert-manager's own has the group behind it,
	// as in Kind.example.com.
	AllowedIssuerKinds []string
	// OperatorNamespace is where the pods of the operator are.
	OperatorNamespace string

	certManager certManager
}

// Reconcile reads a RelayCluster and what belongs to it, changes what is not as
// wanted, and writes its status.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, err error) {
	cluster := &v1alpha1.RelayCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, cluster); err != nil {
		if apierrors.IsNotFound(err) {
			r.Applier.Forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if cluster.DeletionTimestamp != nil {
		return ctrl.Result{}, nil // what belongs to it goes with it
	}
	s, err := r.newScope(ctx, cluster, time.Now())
	if err != nil {
		return ctrl.Result{}, err
	}
	defer func() {
		if statusErr := r.writeStatus(ctx, s); statusErr != nil {
			err = errors.Join(err, statusErr)
		}
		if err == nil {
			result = ctrl.Result{RequeueAfter: s.again}
		}
	}()

	if refused := r.validate(ctx, s); refused != nil {
		return ctrl.Result{}, s.settle(errors.Join(refused, r.renew(ctx, s)))
	}
	phases := []phase{r.certificates, r.trustOthers, r.expose, r.planRollout}
	if !cluster.Spec.Paused {
		phases = append(phases, r.applyAll, r.prune)
	}
	for _, run := range phases {
		if err := run(ctx, s); err != nil {
			return ctrl.Result{}, s.settle(err)
		}
	}
	return ctrl.Result{}, nil
}

// phase is a part of a pass. Those that apply come last.
type phase func(context.Context, *scope) error

// settle ends a pass that a phase could not finish. A user's mistake is left to
// the status, and looked at again when something changes, or when something else is
// due; anything else is returned, to be tried again.
func (s *scope) settle(err error) error {
	for _, err := range split(err) {
		err = explain(err)
		p, ok := errors.AsType[*problem](err)
		switch {
		case !ok:
			s.failure = errors.Join(s.failure, err)
		case s.problem == nil:
			s.problem = p
		}
	}
	switch {
	case s.failure != nil:
		return s.failure
	case s.problem.RetryAfter > 0:
		s.lookAgain(s.problem.RetryAfter)
		return nil
	case s.again > 0:
		return nil
	default:
		return reconcile.TerminalError(fmt.Errorf("%s: %w", s.problem.Reason, s.problem))
	}
}

// split returns the errors that errors.Join has put together.
func split(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		errs = append(errs, split(err)...)
	}
	return errs
}
