package audit

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"aiwatch/internal/event"
)

// A Custody is whose hands a version of a production model went through.
type Custody struct {
	Asset   string `json:"asset_id"`
	Model   string `json:"model"`
	Version string `json:"version"`
	// Serving are the aliases and stages that made it a production model.
	Serving []*Serving `json:"serving"`
	// Datasets and Commits are what its run was made from.
	Datasets []Dataset `json:"datasets,omitempty"`
	Commits  []Commit  `json:"commits,omitempty"`
	Run      string    `json:"run_id,omitempty"`
	// TrainedBy is the run's user, RegisteredBy who registered the version.
	TrainedBy    string `json:"trained_by,omitempty"`
	TrainedSure  string `json:"trained_by_confidence,omitempty"`
	RegisteredBy string `json:"registered_by,omitempty"`
	Source       string `json:"source_uri,omitempty"`
	// Digests are all that are known of its weights; Compared says what they say.
	Digests  []Digest `json:"digests,omitempty"`
	Compared string   `json:"digests_compared"`
	// Differ is whether they contradict each other.
	Differ  bool      `json:"digests_differ"`
	Objects []*Object `json:"objects,omitempty"`
	// Findings are the messages of the findings about it, its run or its objects.
	Findings []string `json:"findings,omitempty"`
	// Readers are who read its objects in the period.
	Readers []*Reader `json:"readers,omitempty"`
	// Life is what the app's report tells of it, in order.
	Life []Act `json:"life,omitempty"`
	// Unknown is what of its life is not known.
	Unknown []string `json:"unknown,omitempty"`

	prefix string // of its objects in S3
	logged []string
}

// A Serving is an alias or stage that a version holds.
type Serving struct {
	Name string    `json:"name"`
	From time.Time `json:"from"`
	// Until is when another version took it; zero while it is held.
	Until time.Time `json:"until,omitzero"`
	// Before is whether it was held before anybody watched.
	Before     bool   `json:"held_before,omitempty"`
	By         string `json:"by,omitempty"`
	Confidence string `json:"user_confidence,omitempty"`
}

// A Dataset is one that a run used.
type Dataset struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"`
	Source string `json:"source,omitempty"`
}

// A Commit is the code that a run was made from.
type Commit struct {
	ID    string `json:"git_commit"`
	Repo  string `json:"git_repo,omitempty"`
	Dirty bool   `json:"git_dirty,omitempty"`
	// Seen is whether a watched repository has it.
	Seen bool `json:"seen_in_git"`
}

// A Digest is one that a source gives of a file of weights.
type Digest struct {
	Time   time.Time `json:"time"`
	File   string    `json:"file,omitempty"` // empty: said of the weights as a whole
	Digest string    `json:"digest"`
	By     string    `json:"by"` // which source says it
}

// An Object is a file of a version.
type Object struct {
	Asset string `json:"asset_id"`
	Role  string `json:"role,omitempty"`
	// Writes and Reads count the acts that took effect, Refused those that did not.
	Writes   int       `json:"writes"`
	Reads    int       `json:"reads"`
	Refused  int       `json:"refused"`
	LastBy   string    `json:"last_written_by,omitempty"`
	LastTime time.Time `json:"last_written,omitzero"`
}

// A Reader is who read objects of a version.
type Reader struct {
	Actor      string    `json:"actor"`
	Confidence []string  `json:"user_confidence"`
	Reads      int       `json:"reads"`
	Bytes      int64     `json:"bytes"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
}

// An Act is a line of a version's life.
type Act struct {
	Time       time.Time `json:"time"`
	Input      string    `json:"sourcetype"`
	Operation  string    `json:"operation"`
	Actor      string    `json:"actor"`
	Confidence string    `json:"user_confidence,omitempty"`
	Asset      string    `json:"asset_id"`
	Detail     string    `json:"detail,omitempty"`
	EventID    string    `json:"event_id"`
}

const (
	mostObjects = 500 // that a version lists
	mostActs    = 500
)

// chains are the versions that events are assigned to.
type chains struct {
	period    Period
	versions  []*Custody
	byVersion map[string]*Custody
	byRun     map[string][]*Custody
	byLogged  map[string][]*Custody
	byCommit  map[string][]*Custody
	byPrefix  map[string][]*Custody
	digestTag map[string]bool
	facts     map[*Custody]*facts
}

// facts are a custody under way.
type facts struct {
	datasets map[Dataset]bool
	commits  map[string]*Commit
	digests  map[Digest]bool
	objects  map[string]*Object
	readers  map[string]*Reader
}

// productionMoves are the moves of production aliases and stages, and those that
// were held at first contact.
const productionMoves = "`aiwatch_mlflow` operation IN (\"alias.set\", \"version.stage_changed\", \"inventory\") asset_type=model_version" +
	" | eval name=case(operation=\"alias.set\",alias,operation=\"version.stage_changed\",new_value,true(),mvappend(aliases,stage))" +
	" | mvexpand name | `aiwatch_production(name)` | where production=1 | sort 0 _time" +
	" | table _time operation name asset_id model_name model_version run_id logged_model_id source_uri trained_by trained_by_confidence registered_by actor user_confidence"

// runCommits are the commits of runs.
const runCommits = "`aiwatch_mlflow` git_commit=* run_id=* | stats count by run_id, git_commit"

// production finds the versions that serve.
func (a *audit) production(ctx context.Context) error {
	c := &chains{
		period: a.report.Period, byVersion: map[string]*Custody{}, byRun: map[string][]*Custody{}, byLogged: map[string][]*Custody{},
		byCommit: map[string][]*Custody{}, byPrefix: map[string][]*Custody{}, digestTag: map[string]bool{}, facts: map[*Custody]*facts{},
	}
	a.chains = c
	moves, err := a.rows(ctx, productionMoves, time.Time{})
	if err != nil {
		return fmt.Errorf("find the production models: %w", err)
	}
	held := map[string]*Serving{} // by model, name: who holds it now
	for _, m := range moves {
		v := c.version(m)
		if v == nil {
			continue
		}
		s := &Serving{
			Name: m.text("name"), From: m.time("_time"), Before: m.text("operation") == "inventory",
			By: m.text("actor"), Confidence: m.text("user_confidence"),
		}
		key := path.Dir(v.Asset) + " " + s.Name
		if before := held[key]; before != nil && m.text("operation") != "version.stage_changed" {
			if slices.Contains(v.Serving, before) {
				continue // told again
			}
			before.Until = s.From
		}
		held[key] = s
		v.Serving = append(v.Serving, s)
	}
	slices.SortStableFunc(c.versions, func(x, y *Custody) int { return strings.Compare(x.Asset, y.Asset) })
	commits, err := a.rows(ctx, runCommits, time.Time{})
	if err != nil {
		return fmt.Errorf("find the commits of runs: %w", err)
	}
	for _, row := range commits {
		for _, v := range c.byRun[row.text("run_id")] {
			id := row.text("git_commit")
			c.byCommit[id] = append(c.byCommit[id], v)
		}
	}
	for _, entry := range a.tableRows("aiwatch_lists") {
		if entry["list"] == "digest_tag" {
			c.digestTag[entry["value"]] = true
		}
	}
	return nil
}

// version is the custody of the version of a move.
func (c *chains) version(m row) *Custody {
	id := m.text("asset_id")
	if id == "" {
		return nil
	}
	v := c.byVersion[id]
	if v == nil {
		v = &Custody{Asset: id, Model: m.text("model_name"), Version: m.text("model_version")}
		c.byVersion[id] = v
		c.versions = append(c.versions, v)
		c.facts[v] = &facts{datasets: map[Dataset]bool{}, commits: map[string]*Commit{}, digests: map[Digest]bool{}, objects: map[string]*Object{}, readers: map[string]*Reader{}}
	}
	set := func(to *string, field string) bool {
		value := m.text(field)
		if value == "" || *to != "" {
			return false
		}
		*to = value
		return true
	}
	if set(&v.Run, "run_id") {
		c.byRun[v.Run] = append(c.byRun[v.Run], v)
	}
	if set(&v.TrainedBy, "trained_by") {
		v.TrainedSure = m.text("trained_by_confidence")
	}
	set(&v.RegisteredBy, "registered_by")
	if set(&v.Source, "source_uri") && strings.HasPrefix(v.Source, "s3://") {
		v.prefix = strings.TrimRight(v.Source, "/")
		c.byPrefix[v.prefix] = append(c.byPrefix[v.prefix], v)
	}
	if logged := m.text("logged_model_id"); logged != "" && !slices.Contains(v.logged, logged) {
		v.logged = append(v.logged, logged)
		c.byLogged[logged] = append(c.byLogged[logged], v)
	}
	return v
}

// of are the versions that an event belongs to.
func (c *chains) of(f *fields) (all []*Custody) {
	add := func(vs []*Custody) {
		for _, v := range vs {
			if !slices.Contains(all, v) {
				all = append(all, v)
			}
		}
	}
	if v := c.byVersion[string(f.AssetID)]; v != nil {
		all = append(all, v)
	}
	add(c.byRun[string(f.RunID)])
	add(c.byLogged[string(f.LoggedModel)])
	add(c.byCommit[string(f.Commit)])
	if len(c.byPrefix) > 0 && strings.HasPrefix(string(f.AssetID), "s3://") {
		for at := string(f.AssetID); len(at) > len("s3://"); at = at[:strings.LastIndexByte(at, '/')] {
			add(c.byPrefix[at])
			if strings.LastIndexByte(at, '/') < len("s3://") {
				break
			}
		}
	}
	return all
}

// see takes one event.
func (c *chains) see(r *record) {
	if len(c.versions) == 0 || r.Sourcetype == event.SourcetypeHealth {
		return
	}
	f := r.Event
	for _, v := range c.of(f) {
		k := c.facts[v]
		if f.Commit != "" {
			commit := k.commits[string(f.Commit)]
			if commit == nil {
				commit = &Commit{ID: string(f.Commit)}
				k.commits[commit.ID] = commit
			}
			commit.Seen = commit.Seen || r.Sourcetype == event.SourcetypeGit
			commit.Dirty = commit.Dirty || f.Dirty == "true"
			if commit.Repo == "" {
				commit.Repo = string(f.Repo)
			}
		}
		if f.Operation == "dataset.logged" {
			k.datasets[Dataset{string(f.Dataset), string(f.DatasetDigest), string(f.DatasetSource)}] = true
		}
		if f.TrainedBy != "" && v.TrainedBy == "" {
			v.TrainedBy, v.TrainedSure = string(f.TrainedBy), string(f.TrainedSure)
		}
		if f.Operation == "version.created" && v.RegisteredBy == "" {
			v.RegisteredBy = f.actor()
		}
		c.digests(k, r)
		c.object(k, r)
	}
}

// digests takes what an event says of the digest of weights.
func (c *chains) digests(k *facts, r *record) {
	f := r.Event
	note := func(file, digest, by string) {
		digest = strings.TrimPrefix(strings.ToLower(digest), "sha256:")
		if len(digest) != 64 || strings.Trim(digest, "0123456789abcdef") != "" {
			return
		}
		k.digests[Digest{r.at(), file, digest, by}] = true
	}
	switch {
	case f.AssetType == "artifact" && f.AssetRole == "weights":
		note(path.Base(string(f.AssetID)), string(f.AssetDigest), "MLflow's file")
	case r.Sourcetype == event.SourcetypeGit && f.AssetRole == "weights" && f.LFS != "":
		note(path.Base(string(f.AssetID)), string(f.LFS), "Git LFS pointer")
	case f.AssetType == "run" || f.AssetType == "model_version":
		said := f.Tags
		if f.TagKey != "" {
			said = append(slices.Clone(said), string(f.TagKey)+"="+string(f.NewValue))
		}
		for _, tag := range said {
			if key, value, ok := strings.Cut(tag, "="); ok && c.digestTag[key] {
				note("", value, "tag "+key+" of the "+strings.ReplaceAll(string(f.AssetType), "_", " "))
			}
		}
	}
}

// object takes what an event did to an object.
func (c *chains) object(k *facts, r *record) {
	f := r.Event
	reads, writes, done := false, false, true
	switch {
	case r.Sourcetype == event.SourcetypeS3:
		action := event.S3Action(string(f.Operation))
		reads = action == "read" && content(string(f.Operation))
		writes = slices.Contains([]string{"uploaded", "copied", "deleted"}, action)
		done = event.S3Status(string(f.Operation), string(f.StatusCode)) == "success"
	case f.Operation == "artifact.read":
		reads, done = true, f.Status != "failure"
	case f.Operation == "artifact.uploaded" || f.Operation == "artifact.removed":
		writes, done = true, f.Status != "failure"
	}
	if !reads && !writes {
		return
	}
	id := string(f.AssetID)
	o := k.objects[id]
	if o == nil {
		if len(k.objects) == mostObjects {
			return
		}
		o = &Object{Asset: id, Role: string(f.AssetRole)}
		k.objects[id] = o
	}
	at := r.at()
	inPeriod := !at.Before(c.period.From) && !at.After(c.period.To)
	switch {
	case !done:
		o.Refused++
	case writes:
		o.Writes++
		if at.After(o.LastTime) {
			o.LastTime, o.LastBy = at, f.actor()
		}
	case inPeriod:
		o.Reads++
		c.reader(k, r, at)
	}
}

// content tells whether a read of S3 gave out what is in an object.
func content(operation string) bool {
	return strings.HasSuffix(operation, ".GET.OBJECT") || strings.Contains(operation, ".SELECT.") ||
		strings.Contains(operation, ".COPY.") && strings.HasSuffix(operation, "_GET")
}

func (c *chains) reader(k *facts, r *record, at time.Time) {
	actor := r.Event.actor()
	if actor == "" {
		actor = "unknown"
	}
	reader := k.readers[actor]
	if reader == nil {
		reader = &Reader{Actor: actor, First: at}
		k.readers[actor] = reader
	}
	sure := string(r.Event.Confidence)
	if sure == "" {
		sure = "unknown"
	}
	if !slices.Contains(reader.Confidence, sure) {
		reader.Confidence = append(reader.Confidence, sure)
	}
	reader.Reads++
	reader.Bytes += int64(r.Event.BytesOut.value)
	if at.Before(reader.First) {
		reader.First = at
	}
	if at.After(reader.Last) {
		reader.Last = at
	}
}

// custody ends the account of each version: it compares the digests and asks the
// app's report for the life.
func (a *audit) custody(ctx context.Context) error {
	for _, f := range a.report.Findings {
		f.found()
	}
	for _, v := range a.chains.versions {
		k := a.chains.facts[v]
		v.settle(k)
		v.compare(slices.Collect(maps.Keys(k.digests)))
		life, err := a.life(ctx, v)
		if err != nil {
			return fmt.Errorf("report on %s: %w", v.Asset, err)
		}
		v.Life = life
		v.lacks(a.watches)
		v.concern(a.report.Findings, k)
	}
	a.report.Custody = a.chains.versions
	return nil
}

func (v *Custody) settle(k *facts) {
	v.Datasets = slices.SortedFunc(maps.Keys(k.datasets), func(x, y Dataset) int {
		return strings.Compare(x.Name+"\x00"+x.Digest+"\x00"+x.Source, y.Name+"\x00"+y.Digest+"\x00"+y.Source)
	})
	for _, id := range slices.Sorted(maps.Keys(k.commits)) {
		v.Commits = append(v.Commits, *k.commits[id])
	}
	for _, id := range slices.Sorted(maps.Keys(k.objects)) {
		v.Objects = append(v.Objects, k.objects[id])
	}
	for _, actor := range slices.Sorted(maps.Keys(k.readers)) {
		v.Readers = append(v.Readers, k.readers[actor])
	}
	slices.SortStableFunc(v.Readers, func(x, y *Reader) int { return y.Reads - x.Reads })
}

// compare says what the digests say together: of one file all must be one, a tag
// must be one of the files', and a pointer that of the file of its name.
func (v *Custody) compare(all []Digest) {
	slices.SortFunc(all, func(x, y Digest) int {
		if c := x.Time.Compare(y.Time); c != 0 {
			return c
		}
		return strings.Compare(x.By+x.File+x.Digest, y.By+y.File+y.Digest)
	})
	seen := map[[3]string]bool{} // one that was told again is told once
	files := map[string]map[string]bool{}
	sources := map[string]bool{}
	var said []Digest
	for _, d := range all {
		key := [3]string{d.File, d.Digest, d.By}
		if seen[key] {
			continue
		}
		seen[key] = true
		v.Digests = append(v.Digests, d)
		sources[d.By] = true
		if d.File == "" {
			said = append(said, d)
			continue
		}
		name := strings.ToLower(d.File)
		if files[name] == nil {
			files[name] = map[string]bool{}
		}
		files[name][d.Digest] = true
	}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if n := len(files[name]); n > 1 {
			problems = append(problems, fmt.Sprintf("%s has %d digests", name, n))
		}
	}
	for _, d := range said {
		known := false
		for _, of := range files {
			known = known || of[d.Digest]
		}
		if !known && len(files) > 0 {
			problems = append(problems, "the "+d.By+" gives another than the files")
		}
	}
	if distinct := digestsOf(said); len(files) == 0 && len(distinct) > 1 {
		problems = append(problems, fmt.Sprintf("%d tags give %d digests", len(said), len(distinct)))
	}
	v.Differ = len(problems) > 0
	switch {
	case v.Differ:
		v.Compared = strings.Join(problems, "; ")
	case len(v.Digests) == 0:
		v.Compared = "no SHA-256 of its weights is known: nothing shows that what serves is what was trained"
	case len(sources) == 1:
		v.Compared = "one source alone gives a digest (" + v.Digests[0].By + "): there is nothing to compare it with"
	default:
		v.Compared = fmt.Sprintf("%d sources agree", len(sources))
	}
}

// concern takes the findings about the version, its run or its objects.
func (v *Custody) concern(all []*Finding, k *facts) {
	for _, f := range all {
		for _, asset := range f.Assets {
			if asset == v.Asset || k.objects[asset] != nil || v.Run != "" && path.Base(asset) == v.Run {
				v.Findings = append(v.Findings, f.Message)
				break
			}
		}
	}
}

// digestsOf are the different digests among these.
func digestsOf(all []Digest) (distinct []string) {
	for _, d := range all {
		if !slices.Contains(distinct, d.Digest) {
			distinct = append(distinct, d.Digest)
		}
	}
	return distinct
}

// life is what the app's report on a version tells.
func (a *audit) life(ctx context.Context, v *Custody) ([]Act, error) {
	rows, err := a.reportOn(ctx, "AI Asset - Custody of a version, from its data to production - Report", v.Model, v.Version, time.Time{})
	if err != nil {
		return nil, err
	}
	var acts []Act
	for _, r := range rows {
		if len(acts) == mostActs {
			v.Unknown = append(v.Unknown, fmt.Sprintf("%d more acts are not listed", len(rows)-mostActs))
			break
		}
		act := Act{
			Time: r.time("_time"), Input: r.text("sourcetype"), Operation: r.text("operation"), Actor: r.text("actor"),
			Confidence: r.text("user_confidence"), Asset: r.text("asset_id"), EventID: r.text("event_id"),
		}
		var detail []string
		if change := r.text("change_field"); change != "" {
			detail = append(detail, change+": "+orNone(r.text("old_value"))+" -> "+orNone(r.text("new_value")))
		}
		for _, field := range []string{"dataset_name", "dataset_digest", "git_commit", "asset_digest"} {
			if value := r.text(field); value != "" {
				detail = append(detail, strings.ReplaceAll(strings.TrimPrefix(field, "asset_"), "_", " ")+" "+value)
			}
		}
		act.Detail = strings.Join(detail, ", ")
		acts = append(acts, act)
	}
	return acts, nil
}

// reportOn runs a report of the app about a model, and a version where one is
// given.
func (a *audit) reportOn(ctx context.Context, report, model, version string, earliest time.Time) ([]row, error) {
	engine := a.Ran.Engine
	search := engine.Saved[report]
	if search == "" {
		return nil, fmt.Errorf("the app has no report %q", report)
	}
	before := maps.Clone(engine.Macros)
	defer func() { engine.Macros = before }()
	for macro, value := range map[string]string{"aiwatch_report_model": model, "aiwatch_report_version": version} {
		engine.Macros[macro] = map[string]string{"definition": quote(value)}
	}
	return a.rows(ctx, search, earliest)
}

// lacks says what of a version's life is not known.
func (v *Custody) lacks(ws *watches) {
	lack := func(format string, args ...any) { v.Unknown = append(v.Unknown, fmt.Sprintf(format, args...)) }
	if v.Run == "" && len(v.logged) == 0 {
		lack("no run is named by the version: how it was made is not known")
	}
	if len(v.Datasets) == 0 {
		lack("no dataset was logged by its run while it was watched")
	}
	if len(v.Commits) == 0 {
		lack("its run names no commit")
	}
	for _, c := range v.Commits {
		if !c.Seen {
			lack("commit %s is in no watched repository", c.ID)
		}
		if c.Dirty {
			lack("the run's work tree had changes that commit %s does not hold", c.ID)
		}
	}
	if v.TrainedBy != "" && v.TrainedSure != "authenticated" && v.TrainedSure != "signed" {
		lack("that %s trained it is what the run's client says, and not proven", v.TrainedBy)
	}
	if len(v.Objects) == 0 {
		s3 := false
		for _, w := range ws.inputs {
			s3 = s3 || w.Source == "s3"
		}
		if s3 {
			lack("no write or read of its objects was seen")
		} else {
			lack("no S3 access log is read: who read its objects there is not known")
		}
	}
	if strings.Contains(v.Model, "*") {
		lack("its name holds a *, which searches take for any text: acts of other models may be among those listed")
	}
}

// tableRows are the rows of a lookup by their columns.
func (a *audit) tableRows(name string) (rows []map[string]string) {
	t := a.Ran.Engine.Lookups.Table(name)
	if t == nil {
		return nil
	}
	for _, r := range t.Rows {
		entry := map[string]string{}
		for i, field := range t.Fields {
			if i < len(r) {
				entry[field] = r[i]
			}
		}
		rows = append(rows, entry)
	}
	return rows
}
