package cmdenv

import "cmp"

// ContextName gives the name of Docker's context in effect; naming a host puts
// the default one in effect.
func (e *Env) ContextName() string {
	if e.opts.context != "" {
		return e.opts.context
	}
	if e.opts.host.set || e.Getenv("DOCKER_HOST") != "" {
		return defaultContext
	}
	return cmp.Or(e.Getenv("DOCKER_CONTEXT"), e.Config().CurrentContext, defaultContext)
}
