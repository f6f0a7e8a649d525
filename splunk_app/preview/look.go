package preview

import (
	"fmt"
	"math"
)

// panel is what is seen of a visualization.
type panel struct {
	ID      string     `json:"id"`
	Text    string     `json:"text"`
	Major   string     `json:"major"`  // of a single value
	Head    []string   `json:"head"`   // of a table
	Rows    [][]string `json:"rows"`   // those on its first page
	Marks   int        `json:"marks"`  // of a chart: points and lines
	Points  []string   `json:"points"` // of a chart, as a screen reader says them: "2. robin, 1,060. critical."
	Failed  bool       `json:"failed"` // it shows why it has nothing to show
	Message string     `json:"message"`
	Box     struct{ X, Y, W, H float64 }
	Cut     []string `json:"cut"` // texts that don't fit
}

// seen is what is seen of a page.
type seen struct {
	Panels  []*panel
	Address string
	Wide    int // pixels that one has to scroll sideways for
}

// look reads the page's DOM.
const look = `
const text = (e) => (e?.innerText ?? '').trim().replace(/\s+/g, ' ');
const box = (e) => { const b = e.getBoundingClientRect(); return { X: b.x, Y: b.y, W: b.width, H: b.height }; };
const inside = (b, a) => b.X >= a.X - 2 && b.Y >= a.Y - 2 && b.X + b.W <= a.X + a.W + 2 && b.Y + b.H <= a.Y + a.H + 2;
const cut = (panel) => {
	const found = [];
	const frame = box(panel);
	for (const e of panel.querySelectorAll('[data-test="viz-title"], [data-test="viz-description"], [data-test="head-cell"] *, [data-test="markdown"], [data-test="scroll-container"]')) {
		if (e.clientWidth && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible') found.push(e.dataset.test + ', ' + (e.scrollWidth - e.clientWidth) + ' pixels: ' + text(e).slice(0, 60));
	}
	for (const e of panel.querySelectorAll('[data-test="majorValue"], [data-test="underLabel"], [data-test="paragraph"], svg text')) {
		if (e.closest('[visibility="hidden"], .highcharts-legend')) continue; // a legend has pages
		const b = box(e);
		if (b.W && b.H && !inside(b, frame) && getComputedStyle(e).visibility !== 'hidden') found.push('outside: ' + (e.textContent ?? '').slice(0, 60));
	}
	return found;
};
return {
	Address: location.href,
	Wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
	Panels: [...document.querySelectorAll('[data-test="viz-item"]')].map((panel) => ({
		id: panel.dataset.id,
		text: text(panel),
		major: text(panel.querySelector('[data-test="majorValue"]')),
		head: [...panel.querySelectorAll('[data-test="head-cell"]')].map(text),
		rows: [...panel.querySelectorAll('[data-test="body"] [data-test="row"]')].map((row) => [...row.querySelectorAll('[data-test="cell"]')].map(text)),
		marks: panel.querySelectorAll('.highcharts-point, .highcharts-graph').length,
		points: [...panel.querySelectorAll('.highcharts-point[aria-label]')].map((e) => e.getAttribute('aria-label').replace(/\s+/g, ' ')),
		failed: !!panel.querySelector('[data-test="viz-waiting-for-input"], [data-test="status-icon-container"] [data-test="clickable"]'),
		message: text(panel.querySelector('[data-test="viz-waiting-for-input-message"]')),
		Box: box(panel),
		cut: cut(panel),
	})),
}`

// look reads the page that is open.
func (b *Browser) look() (*seen, error) {
	found := &seen{}
	return found, b.Evaluate(look, nil, found)
}

// misplaced lists what does not fit into the window.
func (s *seen) misplaced() (wrong []string) {
	if s.Wide > 0 {
		wrong = append(wrong, fmt.Sprintf("the page is %d pixels too wide", s.Wide))
	}
	for i, p := range s.Panels {
		for _, c := range p.Cut {
			wrong = append(wrong, fmt.Sprintf("%s is cut off: %s", p.ID, c))
		}
		for _, q := range s.Panels[:i] {
			if overlap(p.Box.X, p.Box.W, q.Box.X, q.Box.W) > 1 && overlap(p.Box.Y, p.Box.H, q.Box.Y, q.Box.H) > 1 {
				wrong = append(wrong, fmt.Sprintf("%s lies over %s", p.ID, q.ID))
			}
		}
	}
	return wrong
}

func overlap(a, w, b, v float64) float64 { return math.Min(a+w, b+v) - math.Max(a, b) }
