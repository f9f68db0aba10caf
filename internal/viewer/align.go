package viewer

import (
	"hash/maphash"
	"strings"

	"quire/internal/notebook"
)

// Bounds of comparing.
const (
	maxEditCost   = 1000    // steps of Myers' algorithm before lines count as replaced
	maxEditLines  = 20000   // lines of one text
	maxAlignPairs = 250_000 // pairs of cells whose likeness is looked at
	likeEnough    = 0.4     // share of lines in common from which two cells belong together
)

// commonRuns returns the pairs of a longest common subsequence (or, beyond
// maxEditCost, of a common subsequence) of two lists of keys, in order.
func commonRuns(a, b []uint64) [][2]int {
	var pairs [][2]int
	lo := 0
	for lo < len(a) && lo < len(b) && a[lo] == b[lo] {
		pairs = append(pairs, [2]int{lo, lo})
		lo++
	}
	endA, endB := len(a), len(b)
	for endA > lo && endB > lo && a[endA-1] == b[endB-1] {
		endA--
		endB--
	}
	for _, p := range myers(a[lo:endA], b[lo:endB]) {
		pairs = append(pairs, [2]int{p[0] + lo, p[1] + lo})
	}
	for i := endA; i < len(a); i++ {
		pairs = append(pairs, [2]int{i, endB + i - endA})
	}
	return pairs
}

// myers returns the pairs of a longest common subsequence; nil when more than
// maxEditCost edits would be needed.
func myers(a, b []uint64) [][2]int {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return nil
	}
	limit := min(n+m, maxEditCost)
	v := make([]int, 2*limit+2)
	var trace [][]int
	for d := 0; d <= limit; d++ {
		trace = append(trace, append([]int(nil), v[limit-d:limit+d+2]...))
		for k := -d; k <= d; k += 2 {
			x := 0
			if k == -d || k != d && v[limit+k-1] < v[limit+k+1] {
				x = v[limit+k+1]
			} else {
				x = v[limit+k-1] + 1
			}
			y := x - k
			for x < n && y < m && a[x] == b[y] {
				x++
				y++
			}
			v[limit+k] = x
			if x >= n && y >= m {
				return backtrack(trace, n, m)
			}
		}
	}
	return nil
}

// backtrack walks the trace of myers from its end. trace[d] holds the furthest
// points before step d for the diagonals -d to d+1.
func backtrack(trace [][]int, x, y int) [][2]int {
	var back [][2]int
	for d := len(trace) - 1; d >= 0; d-- {
		v := trace[d]
		at := func(k int) int { return v[k+d] }
		k := x - y
		prev := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			prev = k + 1
		}
		px, py := 0, 0
		if d > 0 {
			px = at(prev)
			py = px - prev
		}
		for x > px && y > py {
			x--
			y--
			back = append(back, [2]int{x, y})
		}
		x, y = px, py
	}
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	return back
}

// lineEdits returns the line difference of two texts.
func lineEdits(a, b string) []Edit {
	la, lb := splitLines(a), splitLines(b)
	keys := func(lines []string) []uint64 {
		out := make([]uint64, len(lines))
		for i, l := range lines {
			out[i] = maphash.String(keySeed, l)
		}
		return out
	}
	edits := make([]Edit, 0, len(la)+len(lb))
	i, j := 0, 0
	upTo := func(endA, endB int) {
		for ; i < endA; i++ {
			edits = append(edits, Edit{Op: "-", A: i + 1, Text: la[i]})
		}
		for ; j < endB; j++ {
			edits = append(edits, Edit{Op: "+", B: j + 1, Text: lb[j]})
		}
	}
	for _, p := range commonRuns(keys(la), keys(lb)) {
		upTo(p[0], p[1])
		edits = append(edits, Edit{Op: " ", A: i + 1, B: j + 1, Text: la[i]})
		i++
		j++
	}
	upTo(len(la), len(lb))
	return edits
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	lines := strings.SplitN(strings.TrimSuffix(s, "\n"), "\n", maxEditLines+1)
	if len(lines) > maxEditLines {
		rest, _ := cutText(lines[maxEditLines], 200)
		lines[maxEditLines] = rest + "…"
	}
	return lines
}

// align pairs the cells of two notebooks in their order; -1 stands for none.
func align(a, b []*notebook.Cell) [][2]int {
	var out [][2]int
	i, j := 0, 0
	gap := func(endA, endB int) {
		out = append(out, alignLike(a, b, i, endA, j, endB)...)
		i, j = endA, endB
	}
	byID := commonRuns(idKeys(a, b), idKeys(b, a))
	for _, m := range append(byID, [2]int{len(a), len(b)}) {
		// Between two cells known by their id: the same sources first.
		baseA, baseB := i, j
		same := commonRuns(sourceKeys(a[baseA:m[0]]), sourceKeys(b[baseB:m[1]]))
		for _, s := range same {
			gap(baseA+s[0], baseB+s[1])
			out = append(out, [2]int{i, j})
			i++
			j++
		}
		gap(m[0], m[1])
		if m[0] < len(a) && m[1] < len(b) {
			out = append(out, [2]int{i, j})
			i++
			j++
		}
	}
	return out
}

// idKeys returns a key for each cell: its id where the other notebook has it
// too, exactly once, and otherwise a number that nothing else has.
func idKeys(cells, other []*notebook.Cell) []uint64 {
	times := map[string]int{}
	for _, c := range cells {
		times[c.ID]++
	}
	there := map[string]int{}
	for _, c := range other {
		there[c.ID]++
	}
	keys := make([]uint64, len(cells))
	for i, c := range cells {
		keys[i] = maphash.Comparable(keySeed, c)
		if c.ID != "" && times[c.ID] == 1 && there[c.ID] == 1 {
			keys[i] = maphash.String(keySeed, c.ID)
		}
	}
	return keys
}

func sourceKeys(cells []*notebook.Cell) []uint64 {
	keys := make([]uint64, len(cells))
	for i, c := range cells {
		keys[i] = maphash.String(keySeed, string(c.Type)+"\x00"+strings.TrimSpace(c.Source))
	}
	return keys
}

// alignLike pairs what is left between two pairs by how alike the sources are.
func alignLike(a, b []*notebook.Cell, i, endA, j, endB int) [][2]int {
	n, m := endA-i, endB-j
	if n > 0 && m > 0 && n*m <= maxAlignPairs {
		var out [][2]int
		ai, bj := i, j
		for _, p := range bestPairs(a[i:endA], b[j:endB]) {
			out = append(out, unpaired(ai, i+p[0], bj, j+p[1])...)
			out = append(out, [2]int{i + p[0], j + p[1]})
			ai, bj = i+p[0]+1, j+p[1]+1
		}
		return append(out, unpaired(ai, endA, bj, endB)...)
	}
	return unpaired(i, endA, j, endB)
}

func unpaired(i, endA, j, endB int) [][2]int {
	var out [][2]int
	for ; i < endA; i++ {
		out = append(out, [2]int{i, -1})
	}
	for ; j < endB; j++ {
		out = append(out, [2]int{-1, j})
	}
	return out
}

// bestPairs returns the pairs in order with the greatest sum of likeness.
func bestPairs(a, b []*notebook.Cell) [][2]int {
	la, lb := lineSets(a), lineSets(b)
	width := len(b) + 1
	best := make([]float32, (len(a)+1)*width)
	like := make([]float32, len(a)*len(b))
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			score := float32(0)
			if a[i].Type == b[j].Type {
				score = likeness(la[i], lb[j])
			}
			like[i*len(b)+j] = score
			best[i*width+j] = max(best[(i+1)*width+j], best[i*width+j+1])
			if score >= likeEnough {
				best[i*width+j] = max(best[i*width+j], score+best[(i+1)*width+j+1])
			}
		}
	}
	var out [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		score := like[i*len(b)+j]
		switch {
		case score >= likeEnough && best[i*width+j] == score+best[(i+1)*width+j+1]:
			out = append(out, [2]int{i, j})
			i++
			j++
		case best[i*width+j] == best[(i+1)*width+j]:
			i++
		default:
			j++
		}
	}
	return out
}

// lineSets returns the words of each cell's source, hashed; at most 400 a cell.
func lineSets(cells []*notebook.Cell) []map[uint64]int {
	sets := make([]map[uint64]int, len(cells))
	for i, c := range cells {
		src, _ := cutText(c.Source, 16<<10)
		sets[i] = map[uint64]int{}
		for n, w := range strings.FieldsFunc(src, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`()[]{}.,:;="'`, r) }) {
			if n == 400 {
				break
			}
			sets[i][maphash.String(keySeed, w)]++
		}
	}
	return sets
}

// likeness is the share of words that two cells have in common, 0 to 1.
func likeness(a, b map[uint64]int) float32 {
	if len(a) > len(b) {
		a, b = b, a
	}
	common, all := 0, 0
	for w, n := range a {
		common += min(n, b[w])
		all += n
	}
	for _, n := range b {
		all += n
	}
	if all == 0 {
		return 0
	}
	return 2 * float32(common) / float32(all)
}
