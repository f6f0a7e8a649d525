package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"aiwatch/splunk_app/preview"
)

// TestInABrowser: the page of the hostile organisation and that of the scenario in
// Chromium, light, dark and printed. Nothing is asked of anybody, no name runs, no
// table is cut off, and the colours are those that the reader likes.
// AIWATCH_PICTURES names a folder that keeps the pictures.
func TestInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("browser: left out of a -short run")
	}
	browser, err := chromium()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("browser absent: %s", err)
	}
	defer func() { require.NoError(t, browser.Close()) }()
	dir := os.Getenv("AIWATCH_PICTURES")
	if dir == "" {
		dir = t.TempDir()
	}
	swap, err := os.ReadFile(filepath.Join("testdata", "swap.html"))
	require.NoError(t, err)
	events, found := madeOf(t, `"><script>document.title="ran"</script>`+strings.Repeat("long", 200))
	pages := map[string][]byte{"swap": swap, "hostile": []byte(paged(t, searched(t, Input{Events: events}, found...)))}
	for name, page := range pages {
		file := filepath.Join(dir, name+".html")
		require.NoError(t, os.WriteFile(file, page, 0o600))
		require.NoError(t, browser.Open("file://"+file, 1280, 900))
		for _, c := range []struct {
			media, scheme, paper string
			width                int
		}{
			{"screen", "light", "rgb(255, 255, 255)", 1280},
			{"screen", "dark", "rgb(20, 24, 29)", 1280},
			{"screen", "light", "rgb(255, 255, 255)", 640},
			{"print", "dark", "rgb(255, 255, 255)", 760},
		} {
			require.NoError(t, browser.Emulate(c.media, c.scheme))
			picture := filepath.Join(dir, name+"-"+c.media+"-"+c.scheme+".png")
			require.NoError(t, browser.Picture(picture, c.width))
			var got struct {
				Paper  string
				Title  string
				Over   int
				Cut    []string
				Active int
			}
			require.NoError(t, browser.Evaluate(`
				const wide = document.documentElement.clientWidth;
				return {
					paper: getComputedStyle(document.documentElement).backgroundColor,
					title: document.title,
					over: document.documentElement.scrollWidth - wide,
					cut: [...document.querySelectorAll('table, dl, svg, h1, section, .chain')].filter((e) => e.getBoundingClientRect().right > wide + 1 || e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 0).map((e) => e.tagName + ' ' + e.className),
					active: document.querySelectorAll('script, img, iframe, object, embed, [style], [onload], [onerror]').length,
				}`, nil, &got))
			require.Equal(t, c.paper, got.Paper, "%s %v", name, c)
			require.Zero(t, got.Over, "%s %v", name, c)
			require.Empty(t, got.Cut, "%s %v", name, c)
			require.Zero(t, got.Active, name)
			require.Regexp(t, "^aiwatch audit 2026", got.Title)
		}
		pdf := filepath.Join(dir, name+".pdf")
		require.NoError(t, browser.Print(pdf))
		text, err := os.ReadFile(pdf)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(text, []byte("%PDF-")))
		require.Greater(t, len(regexp.MustCompile(`/Type\s*/Page\b`).FindAll(text, -1)), 4, name)
		said, err := browser.Said()
		require.NoError(t, err)
		require.Empty(t, said, "errors, or requests to others")
	}
}

func chromium() (*preview.Browser, error) {
	root, err := preview.FindRoot()
	if err != nil {
		return nil, err
	}
	packages, err := root.Packages()
	if err != nil {
		return nil, err
	}
	return preview.StartBrowser(packages)
}
