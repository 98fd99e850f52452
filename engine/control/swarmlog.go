package control

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// swarmLog carries SwarmKit's log to ours and listens in it for the one thing
// SwarmKit tells nobody: that the managers refuse this node's sessions
// because it was removed from the swarm. Its agent would repeat them for ever.
type swarmLog struct {
	log     *slog.Logger
	refused func(error)
}

// RouteLibraryLogs sends to log what SwarmKit, libnetwork and gRPC write to
// logrus' standard logger, which would be this process' standard error. The
// process calls it once, before New.
func RouteLibraryLogs(log *slog.Logger) {
	l := logrus.StandardLogger()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.WarnLevel) // gRPC informs of every step of every connection
	l.ReplaceHooks(logrus.LevelHooks{})
	l.AddHook(&swarmLog{log: log, refused: func(error) {}})
}

func newSwarmLog(log *slog.Logger, refused func(error)) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.WarnLevel)
	if log.Enabled(context.Background(), slog.LevelDebug) {
		l.SetLevel(logrus.DebugLevel)
	}
	l.AddHook(&swarmLog{log: log, refused: refused})
	return logrus.NewEntry(l)
}

// Levels implements logrus.Hook.
func (*swarmLog) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (h *swarmLog) Fire(e *logrus.Entry) error {
	attrs := []slog.Attr{slog.String("detail", e.Message)}
	for k, v := range e.Data {
		if k == logrus.ErrorKey {
			attrs = append(attrs, slog.Any("err", v))
			continue
		}
		attrs = append(attrs, slog.Any(strings.NewReplacer(".", "_", "-", "_").Replace(k), v))
	}
	h.log.LogAttrs(context.Background(), levelOf(e.Level), "swarmkit", attrs...)
	h.detect(e)
	return nil
}

func (h *swarmLog) detect(e *logrus.Entry) {
	module, _ := e.Data["module"].(string)
	err, _ := e.Data[logrus.ErrorKey].(error)
	if err != nil && strings.HasPrefix(module, "node/agent") && status.Code(err) == codes.PermissionDenied {
		h.refused(err)
	}
}

// levelOf lowers SwarmKit's levels by one: its errors are retried by itself,
// and its information is our debugging.
func levelOf(l logrus.Level) slog.Level {
	switch l {
	case logrus.PanicLevel, logrus.FatalLevel:
		return slog.LevelError
	case logrus.ErrorLevel, logrus.WarnLevel:
		return slog.LevelWarn
	case logrus.InfoLevel, logrus.DebugLevel, logrus.TraceLevel:
		return slog.LevelDebug
	}
	return slog.LevelDebug
}
