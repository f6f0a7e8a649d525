package mlflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"aiwatch/collectors"
	"aiwatch/collectors/logfile"
	"aiwatch/internal/event"
)

// Check reports what answers, what the account may see, what is switched on, how
// large the registry is and how long a sweep of it takes.
func (c *Collector) Check(ctx context.Context) []collectors.Finding {
	began := time.Now()
	srv, err := c.ask(ctx)
	if err != nil {
		return []collectors.Finding{unreachable(err)}
	}
	findings := []collectors.Finding{{Text: fmt.Sprintf("MLflow %s answers at %s", srv.Version, c.client.base.Redacted())}}
	say := func(v collectors.Verdict, fix, format string, args ...any) {
		findings = append(findings, collectors.Finding{Verdict: v, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
	areas := []string{""}
	if srv.Workspaces {
		if areas, err = c.workspaces(ctx); err != nil {
			return append(findings, unreachable(err))
		}
		say(collectors.Good, "", "workspaces are on: the account sees %d", len(areas))
	}
	for _, ws := range areas {
		if err := c.checkArea(ctx, srv, ws, began, say); err != nil {
			return append(findings, unreachable(err))
		}
	}
	c.checkAccess(ctx, srv, areas[0], say)
	if c.cfg.InsecureSkipVerify {
		say(collectors.Warning, "set ca_file instead of insecure_skip_verify", "the server's certificate is not verified")
	}
	switch {
	case c.cfg.Listen != "":
		say(collectors.Good, "", "webhooks are taken at %s", c.cfg.Listen)
	case srv.Major >= 3:
		say(collectors.Good, "", "no webhook receiver: changes of aliases and tags are seen by the full sweep, every %s", c.cfg.Interval)
	}
	switch err := (&logfile.Log{Path: c.cfg.AccessLog}).Check(); {
	case c.cfg.AccessLog == "":
		say(collectors.Warning, "set access_log to the log of the proxy or server, gunicorn's has the names", "no access log: who made a change is not known, and reads and overwrites of artifacts are not seen")
	case err != nil:
		say(collectors.Misset, "let the user that runs aiwatch read it", "access_log can't be read: %v", err)
	case !c.cfg.Trusted:
		say(collectors.Good, "", "names in the access log count as claimed (trust = claimed)")
	}
	return findings
}

func unreachable(err error) collectors.Finding {
	f := collectors.Finding{Verdict: collectors.Unavailable, Text: err.Error(), Fix: "start the server, or correct url, proxy and TLS settings"}
	var answered *apiError
	if errors.As(err, &answered) && (answered.Status == 401 || answered.Status == 403) {
		f.Fix = "correct username and password or token, and let the account read what is to be watched"
	}
	return f
}

// checkArea counts what a workspace holds.
func (c *Collector) checkArea(ctx context.Context, srv server, ws string, began time.Time, say func(collectors.Verdict, string, string, ...any)) error {
	p := &poll{ledger: newLedger(&collectors.Memory{}, nil), c: c, ctx: ctx, server: srv, ws: ws, now: c.cfg.Now(), lack: &[]string{}, notice: &[]string{}}
	models, prompts, experiments := 0, 0, 0
	count := func(n *int) func(*model) error {
		return func(*model) error { *n++; return nil }
	}
	if err := p.searchModels(false, p.modelPage(), "name ASC", count(&models)); err != nil {
		return err
	}
	if err := p.searchModels(true, p.modelPage(), "name ASC", count(&prompts)); err != nil {
		return err
	}
	if err := p.searchExperiments("creation_time ASC", experimentPage, func(*experiment) error { experiments++; return nil }); err != nil {
		return err
	}
	runs := map[string]bool{}
	versions := 0
	r := p.at(request{path: api + "model-versions/search", query: query("max_results", fmt.Sprint(versionPage))})
	if err := each(ctx, c.client, r, "model_versions", func(v *versionJSON) error {
		versions++
		if isID(v.RunID) {
			runs[v.RunID] = true
		}
		return nil
	}); err != nil {
		return err
	}
	where := ""
	if ws != "" {
		where = fmt.Sprintf("workspace %q: ", ws)
	}
	say(collectors.Good, "", "%s%s with %s of %s, %s, %s; reading the registry took %s", where,
		event.Count(models, "model"), event.Count(versions, "version"), event.Count(len(runs), "run"), event.Count(prompts, "prompt"), event.Count(experiments, "experiment"), time.Since(began).Round(time.Millisecond))
	sweeps := 1 + len(runs)/(max(1, c.cfg.RequestsPerSweep/runShare)*runBatch)
	say(collectors.Good, "", "%srequests_per_sweep = %d: a run behind a version is read again after %s at the latest", where, c.cfg.RequestsPerSweep, time.Duration(sweeps)*c.cfg.Interval)
	return nil
}

// checkAccess tells whether permissions can be read.
func (c *Collector) checkAccess(ctx context.Context, srv server, ws string, say func(collectors.Verdict, string, string, ...any)) {
	if c.cfg.Username == "" && c.cfg.Token == "" {
		say(collectors.Good, "", "no account is set: permissions are not watched")
		return
	}
	if srv.Major < 3 {
		say(collectors.Warning, "", "basic-auth of 2.x lists no users: permissions of the names that runs and the access log hold are watched")
		return
	}
	var users struct {
		Users []userJSON `json:"users"`
	}
	err := c.client.get(ctx, request{path: api + "users/list", workspace: ws}, &users)
	switch {
	case err == nil:
		say(collectors.Good, "", "basic-auth is on: permissions of %d users are watched", len(users.Users))
	case isDenied(err):
		say(collectors.Warning, "make the account an administrator to watch permissions", "basic-auth is on, and the account may not list users: permissions are not watched")
	default:
		say(collectors.Good, "", "the server has no basic authentication that lists users: %v", err)
	}
}
