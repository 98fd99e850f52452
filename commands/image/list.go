package image

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

type listOptions struct {
	reference string
	all       bool
	digests   bool
	noTrunc   bool
	quiet     bool
	format    string
	filter    opts.FilterOpt
}

// NewImages gives the `images` command.
func NewImages(env *cmdenv.Env) *cobra.Command {
	o := &listOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:         "images [OPTIONS] [REPOSITORY[:TAG]]",
		Short:       "List images",
		Args:        cmdenv.MaxArgs(1),
		Annotations: cmdenv.AlsoKnownAs("image ls", "image list", "images"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.reference = args[0]
			}
			if o.format == "" && !o.quiet {
				o.format = env.Config().ImagesFormat
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runList(cmd.Context(), api, env.Out, env.Now(), o)
		},
		ValidArgsFunction: names(env, 1),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only show image IDs")
	flags.BoolVarP(&o.all, "all", "a", false, "Show all images (default hides intermediate images)")
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	flags.BoolVar(&o.digests, "digests", false, "Show digests")
	flags.StringVar(&o.format, "format", "", render.FormatHelp)
	flags.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

// imageContext is a row of the list, named as in Docker because errors in
// templates show the name.
type imageContext struct {
	Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Tag, UniqueSize, VirtualSize string
}

const none = "<none>"

func runList(ctx context.Context, api lister, out io.Writer, now time.Time, o *listOptions) error {
	filter := o.filter.Value()
	if o.reference != "" {
		filter.Add("reference", o.reference)
	}
	list, err := api.ImageList(ctx, image.ListOptions{All: o.all, Filters: filter})
	if err != nil {
		return err
	}
	var rows []*imageContext
	for _, img := range list {
		for _, n := range rowNames(img, o.digests) {
			created := time.Unix(img.Created, 0)
			rows = append(rows, &imageContext{
				ID: render.ID(strings.TrimPrefix(img.ID, "sha256:"), true), Repository: n.repo, Tag: n.tag, Digest: n.digest,
				CreatedAt: created.String(), CreatedSince: render.Ago(now, created) + " ago",
				Size: units.HumanSizeWithPrecision(float64(img.Size), 3), VirtualSize: units.HumanSize(float64(img.Size)),
				Containers: "N/A", SharedSize: "N/A", UniqueSize: "N/A",
			})
			row := rows[len(rows)-1]
			if o.noTrunc {
				row.ID = img.ID
			} else {
				row.ID = render.ShortID(row.ID)
			}
		}
	}
	return listing(o.digests).Write(out, o.format, o.quiet, rows)
}

// rowName is one name of an image.
type rowName struct{ repo, tag, digest string }

// rowNames gives the rows of an image: one for each of its names, with digests
// one for each pair of those of a repository.
func rowNames(img image.Summary, digests bool) []rowName {
	byRepo := map[string]string{}
	for _, d := range img.RepoDigests {
		if named, err := reference.ParseNormalizedNamed(d); err == nil {
			if pinned, ok := named.(reference.Canonical); ok {
				byRepo[reference.FamiliarName(named)] = pinned.Digest().String()
			}
		}
	}
	var out []rowName
	for _, t := range img.RepoTags {
		repo, tag := none, none
		if named, err := reference.ParseNormalizedNamed(t); err == nil {
			repo = reference.FamiliarName(named)
			if tagged, ok := named.(reference.Tagged); ok {
				tag = tagged.Tag()
			}
		}
		digest := none
		if d, ok := byRepo[repo]; ok && digests {
			digest = d
		}
		out = append(out, rowName{repo, tag, digest})
	}
	if len(out) == 0 {
		for repo, digest := range byRepo {
			out = append(out, rowName{repo, none, digest})
		}
	}
	if len(out) == 0 {
		out = []rowName{{none, none, none}}
	}
	return out
}

func listing(digests bool) render.List[*imageContext] {
	table := `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	if digests {
		table = `{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	}
	return render.List[*imageContext]{
		Headers: render.Headers{
			"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT",
			"Size": "SIZE", "Containers": "CONTAINERS", "VirtualSize": "SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
		},
		Table:    table,
		RawQuiet: `image_id: {{.ID}}`,
		Raw:      `repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n`,
	}
}
