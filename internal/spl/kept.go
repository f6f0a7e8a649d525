package spl

import (
	"slices"
	"sort"
)

// Keep prepares the query for many runs over a store that grows: from run to run
// it remembers which events its searches find, time apart, so that a run looks
// at the new events and at those of its window only; and where the search finds
// nothing and nothing can come of that, the rest of the pipeline is not opened.
// The rows are the same.
func (q *Query) Keep() {
	q.kept = &kept{found: map[*searchCommand]*postings{}, fields: map[*searchCommand]*fieldSet{}, silent: silent(q.commands)}
}

// kept is what a query remembers.
type kept struct {
	found  map[*searchCommand]*postings
	fields map[*searchCommand]*fieldSet // what is read of the events behind each
	silent bool                         // no events, no rows
}

// wanted is what an earlier run found out to be read behind a search, nil when
// that is not known.
func (k *kept) wanted(src *searchCommand) *fieldSet {
	if k == nil || src == nil {
		return nil
	}
	return k.fields[src]
}

func (k *kept) want(src *searchCommand, fields *fieldSet) {
	if k != nil && src != nil && len(k.fields) < maxPostings {
		k.fields[src] = fields
	}
}

// maxPostings bounds the searches of a query that are remembered.
const maxPostings = 16

// postings are the events that a filter finds, whatever their time.
type postings struct {
	ids       []uint32 // in the order in which they were stored
	byTime    []uint32 // the same, oldest first; as many as were needed so far
	upto      uint32   // events of the store that were looked at
	deletions int      // of the store, when ids were collected
	unordered bool     // index times do not follow the order of storing
}

// postings returns those of a search, brought up to date; nil where its filter
// can't be remembered.
func (x *execution) postings(src *searchCommand, filter searchExpr) (*postings, error) {
	if x.kept == nil || src == nil {
		return nil, nil
	}
	p := x.kept.found[src]
	if p == nil {
		if len(x.kept.found) >= maxPostings {
			return nil, nil
		}
		p = &postings{}
		x.kept.found[src] = p
	}
	s := x.engine.Store
	if p.deletions != s.deletions {
		*p = postings{deletions: s.deletions}
	}
	if p.upto == s.n {
		return p, nil
	}
	test, err := codeTests{x, s, int(s.n - p.upto)}.test(timeless(filter))
	if err != nil {
		return nil, err
	}
	for id := p.upto; id < s.n; id++ {
		if s.dead[id] || !test(id) {
			continue
		}
		if n := len(p.ids); n > 0 && s.indexed[p.ids[n-1]] > s.indexed[id] {
			p.unordered = true
		}
		p.ids = append(p.ids, id)
	}
	p.upto = s.n
	return p, nil
}

// timeless is a filter that holds wherever e does, whatever the time is.
func timeless(e searchExpr) searchExpr {
	switch n := e.(type) {
	case *searchTime:
		return searchAll{}
	case searchAnd:
		out := make(searchAnd, len(n))
		for i, e := range n {
			out[i] = timeless(e)
		}
		return out
	}
	if hasTime(e) {
		return searchAll{}
	}
	return e
}

// between returns the events of both ranges, oldest first; more where the index
// times are not in order.
func (p *postings) between(s *Store, r, indexRange timeRange) []uint32 {
	if indexRange != allTime && !p.unordered {
		lo := sort.Search(len(p.ids), func(i int) bool { return s.indexed[p.ids[i]] >= indexRange.earliest })
		hi := sort.Search(len(p.ids), func(i int) bool { return s.indexed[p.ids[i]] >= indexRange.latest })
		if n := max(0, hi-lo); n < 64 || n*8 < len(p.ids) {
			found := make([]uint32, 0, n)
			for _, id := range p.ids[lo : lo+n] {
				if s.times[id] >= r.earliest && s.times[id] < r.latest {
					found = append(found, id)
				}
			}
			slices.SortFunc(found, s.olderByTime)
			return found
		}
	}
	if n := len(p.byTime); n < len(p.ids) {
		p.byTime = mergeInto(p.byTime, p.ids[n:], s.olderByTime)
	}
	return between(p.byTime, s.times, r)
}

// silent tells whether a pipeline that begins with a search gives no rows when
// the search finds none: each command behind it makes rows of rows only.
func silent(cmds []command) bool {
	for i, c := range cmds {
		switch c := c.(type) {
		case *searchCommand, *whereCommand, *evalCommand, *fieldsCommand, *renameCommand, *lookupCommand, *regexCommand, *rexCommand,
			*dedupCommand, *sortCommand, *headCommand, *tailCommand, *makemvCommand, *mvexpandCommand, *mvcombineCommand, *nomvCommand,
			*streamCommand, *binCommand, *convertCommand:
		case *statsCommand:
			if len(c.by) == 0 {
				return false
			}
		default:
			return false
		}
		if _, first := c.(*searchCommand); i == 0 && !first {
			return false
		}
	}
	return true
}
