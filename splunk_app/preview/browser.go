package preview

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Browser is one Chromium, driven by web/browser.mjs. It does one thing at a
// time.
type Browser struct {
	process *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Scanner
	dir     string
}

// maxAnswer bounds what is read out of a page.
const maxAnswer = 64 << 20

// StartBrowser starts the Chromium of this machine with the packages that are
// installed in a folder.
func StartBrowser(packages string) (*Browser, error) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("find Chromium: %w; run tools/tools.sh install dashboards", err)
	}
	b := &Browser{}
	if b.dir, err = os.MkdirTemp("", "aiwatch-browser-"); err != nil {
		return nil, fmt.Errorf("start the browser: %w", err)
	}
	script := filepath.Join(b.dir, "browser.mjs")
	text, err := web.ReadFile("web/browser.mjs")
	if err == nil {
		err = os.WriteFile(script, text, 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the browser: %w", err), os.RemoveAll(b.dir))
	}
	b.process = exec.Command("node", script, packages, chromium)
	b.process.Stderr = os.Stderr
	if b.orders, err = b.process.StdinPipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the browser: %w", err), os.RemoveAll(b.dir))
	}
	out, err := b.process.StdoutPipe()
	if err == nil {
		err = b.process.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the browser: %w", err), os.RemoveAll(b.dir))
	}
	b.answers = bufio.NewScanner(out)
	b.answers.Buffer(nil, maxAnswer)
	return b, nil
}

// Close ends the browser.
func (b *Browser) Close() error {
	return errors.Join(b.orders.Close(), b.process.Wait(), os.RemoveAll(b.dir))
}

// order is a line to the browser; the fields that an order does not know are
// left out.
type order struct {
	Do       string `json:"do"`
	URL      string `json:"url,omitempty"`
	Width    int    `json:"width,omitempty"`
	Height   int    `json:"height,omitempty"`
	Path     string `json:"path,omitempty"`
	Script   string `json:"script,omitempty"`
	Argument any    `json:"argument,omitempty"`
	Selector string `json:"selector,omitempty"`
	Text     string `json:"text,omitempty"`
	Media    string `json:"media,omitempty"`
	Scheme   string `json:"scheme,omitempty"`
}

// reply is its answer.
type reply struct {
	Error string          `json:"error"`
	Value json.RawMessage `json:"value"`
	Said  []string        `json:"said"`
}

func (b *Browser) ask(o order) (*reply, error) {
	if err := json.NewEncoder(b.orders).Encode(o); err != nil {
		return nil, fmt.Errorf("browser: %s: %w", o.Do, err)
	}
	if !b.answers.Scan() {
		return nil, fmt.Errorf("browser: %s: it has ended: %w", o.Do, errors.Join(b.answers.Err(), io.ErrUnexpectedEOF))
	}
	r := &reply{}
	if err := json.Unmarshal(b.answers.Bytes(), r); err != nil {
		return nil, fmt.Errorf("browser: %s: %w", o.Do, err)
	}
	if r.Error != "" {
		return nil, fmt.Errorf("browser: %s: %s", o.Do, r.Error)
	}
	return r, nil
}

// Open opens a page afresh, in a window of a width and height in pixels, and
// waits until it is drawn.
func (b *Browser) Open(url string, width, height int) error {
	if _, err := b.ask(order{Do: "open", URL: url, Width: width, Height: height}); err != nil {
		return err
	}
	return b.Settle()
}

// Settle waits until the page has drawn all that it will.
func (b *Browser) Settle() error {
	_, err := b.ask(order{Do: "settle"})
	return err
}

// Evaluate runs a script, the body of a function of argument, and decodes what
// it returns into value.
func (b *Browser) Evaluate(script string, argument, value any) error {
	r, err := b.ask(order{Do: "evaluate", Script: script, Argument: argument})
	if err != nil || value == nil {
		return err
	}
	if err := json.Unmarshal(r.Value, value); err != nil {
		return fmt.Errorf("browser: evaluate: %w", err)
	}
	return nil
}

// Emulate shows the page as on a medium, screen or print, to somebody who likes a
// colour scheme, light or dark.
func (b *Browser) Emulate(media, scheme string) error {
	_, err := b.ask(order{Do: "emulate", Media: media, Scheme: scheme})
	return err
}

// Print writes the page as a PDF.
func (b *Browser) Print(path string) error {
	_, err := b.ask(order{Do: "print", Path: path})
	return err
}

// Said are the errors of the page since it was opened, and the requests that
// went to others.
func (b *Browser) Said() ([]string, error) {
	r, err := b.ask(order{Do: "said"})
	if err != nil {
		return nil, err
	}
	return r.Said, nil
}

// Picture writes a PNG of the whole page at a width.
func (b *Browser) Picture(path string, width int) error {
	_, err := b.ask(order{Do: "picture", Path: path, Width: width})
	return err
}

// A Shot is a picture that is wanted.
type Shot struct {
	View  string // the page's name; parameters may follow
	Theme string
	Width int
	Path  string // of the PNG
}

// Pictures are those that the documentation shows, in a folder: each page dark
// and light, where one has to choose as somebody does who looks into the story.
func Pictures(app fs.FS, dir string) ([]Shot, error) {
	all, err := views(app)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the pictures: %w", err)
	}
	chosen := map[string]string{"asset": "?form.asset=vision", "person": "?form.person=robin"}
	var shots []Shot
	for _, v := range all {
		for _, theme := range []string{"dark", "light"} {
			path := filepath.Join(dir, v.Name+"-"+theme+".png")
			shots = append(shots, Shot{View: v.Name + chosen[v.Name], Theme: theme, Width: 1280, Path: path})
		}
	}
	return shots, nil
}

// Shoot draws a page of the app that is served at a URL. It tells what went
// wrong on the page and in its panels, and what does not fit.
func (b *Browser) Shoot(server string, shot Shot) (said []string, err error) {
	path, err := filepath.Abs(shot.Path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", shot.Path, err)
	}
	separator := "?"
	if strings.Contains(shot.View, "?") {
		separator = "&"
	}
	// A page that does not come to rest is worth a picture, too.
	err = b.Open(server+appPath+shot.View+separator+"theme="+shot.Theme, shot.Width, 4000)
	err = errors.Join(err, b.Picture(path, shot.Width))
	said, saidErr := b.Said()
	page, lookErr := b.look()
	for _, p := range page.Panels {
		if p.Failed {
			said = append(said, p.ID+" says: "+p.Message)
		}
	}
	return append(said, page.misplaced()...), errors.Join(err, saidErr, lookErr)
}
