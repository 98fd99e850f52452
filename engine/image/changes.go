package image

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"weft/engine/fault"
)

// applyChanges applies the lines of a Dockerfile that change a configuration
// and nothing else (docker import --change).
func applyChanges(c *dockerspec.DockerOCIImageConfig, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	text, err := parser.Parse(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		return fault.Invalid("invalid change: %w", err)
	}
	for _, node := range text.AST.Children {
		cmd, err := instructions.ParseInstruction(node)
		if err != nil {
			return fault.Invalid("invalid change: %w", err)
		}
		if err := applyChange(c, cmd); err != nil {
			return err
		}
	}
	return nil
}

func applyChange(c *dockerspec.DockerOCIImageConfig, cmd any) error {
	switch cmd := cmd.(type) {
	case *instructions.CmdCommand:
		c.Cmd = shellForm(cmd.ShellDependantCmdLine, c.Shell)
	case *instructions.EntrypointCommand:
		c.Entrypoint = shellForm(cmd.ShellDependantCmdLine, c.Shell)
	case *instructions.EnvCommand:
		for _, kv := range cmd.Env {
			c.Env = append(c.Env, kv.Key+"="+kv.Value)
		}
	case *instructions.LabelCommand:
		for _, kv := range cmd.Labels {
			put(&c.Labels, kv.Key, kv.Value)
		}
	case *instructions.ExposeCommand:
		for _, port := range cmd.Ports {
			if !strings.Contains(port, "/") {
				port += "/tcp"
			}
			put(&c.ExposedPorts, port, struct{}{})
		}
	case *instructions.VolumeCommand:
		for _, dir := range cmd.Volumes {
			put(&c.Volumes, dir, struct{}{})
		}
	case *instructions.WorkdirCommand:
		c.WorkingDir = cmd.Path
	case *instructions.UserCommand:
		c.User = cmd.User
	case *instructions.StopSignalCommand:
		c.StopSignal = cmd.Signal
	case *instructions.HealthCheckCommand:
		c.Healthcheck = cmd.Health
	case *instructions.ShellCommand:
		c.Shell = cmd.Shell
	case *instructions.OnbuildCommand:
		c.OnBuild = append(c.OnBuild, cmd.Expression)
	default:
		return fault.Invalid("invalid change: only CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR change an image without building it")
	}
	return nil
}

func put[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
}

// shellForm gives the words to execute: those of the list form, or a shell
// with the line.
func shellForm(line instructions.ShellDependantCmdLine, shell []string) []string {
	if !line.PrependShell {
		return line.CmdLine
	}
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(append([]string(nil), shell...), strings.Join(line.CmdLine, " "))
}
