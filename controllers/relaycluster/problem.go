package relaycluster

import (
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
)

// pollProblem is how often is looked at what nobody tells of when it changes.
const pollProblem = 30 * time.Second

// problem is why something is not as the user wants, in the words of a
// condition.
type problem struct {
	Reason, Message string
	// RetryAfter is when to look again without being told of a change; 0 is
	// never.
	RetryAfter time.Duration
}

// Error returns the message.
func (p *problem) Error() string { return p.Message }

// explain turns an error that is the user's to mend into a problem.
func explain(err error) error {
	if foreign, ok := errors.AsType[*apply.ForeignError](err); ok {
		return &problem{v1alpha1.ReasonApplyFailed, foreign.Error(), pollProblem}
	}
	switch {
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err):
		// A port that another Service has, an admission policy, a quota, or a right
		// that the operator lacks: nobody tells when that changes.
		return &problem{v1alpha1.ReasonApplyFailed, err.Error(), pollProblem}
	default:
		return err
	}
}
