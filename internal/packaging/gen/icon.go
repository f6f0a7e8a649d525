package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
)

// icons are the names and sizes, in pixels, that Splunk wants.
var icons = map[string]int{
	"appIcon.png": 36, "appIcon_2x.png": 72, "appIconAlt.png": 36, "appIconAlt_2x.png": 72,
}

// icon draws an eye whose iris is a small network of three nodes: what watches,
// and what is watched.
func icon(size int) ([]byte, error) {
	palette := color.Palette{color.Transparent}
	ink := color.NRGBA{R: 0x1b, G: 0x6e, B: 0x8c}
	const shades = 15
	for i := 1; i <= shades; i++ {
		c := ink
		c.A = uint8(i * 255 / shades)
		palette = append(palette, c)
	}
	img := image.NewPaletted(image.Rect(0, 0, size, size), palette)
	const samples = 4 // a side, for smooth edges
	for y := range size {
		for x := range size {
			covered := 0
			for i := range samples * samples {
				px := (float64(x) + (float64(i%samples)+0.5)/samples) / float64(size)
				py := (float64(y) + (float64(i/samples)+0.5)/samples) / float64(size)
				if drawn(px, py) {
					covered++
				}
			}
			img.SetColorIndex(x, y, uint8(covered*shades/(samples*samples)))
		}
	}
	var b bytes.Buffer
	// Uncompressed, the bytes are the same whatever the compiler's version.
	encoder := png.Encoder{CompressionLevel: png.NoCompression}
	if err := encoder.Encode(&b, img); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// drawn tells whether the drawing covers a point of the unit square.
func drawn(x, y float64) bool {
	x, y = x-0.5, y-0.5
	const line = 0.028
	// The eye: where two large circles overlap, its rim alone.
	const radius, apart = 0.56, 0.30
	lid := math.Max(math.Hypot(x, y-apart), math.Hypot(x, y+apart)) - radius
	if math.Abs(lid) < line {
		return true
	}
	if lid > 0 {
		return false
	}
	nodes := [3][2]float64{{0, -0.12}, {-0.12, 0.08}, {0.12, 0.08}}
	for i, a := range nodes {
		if math.Hypot(x-a[0], y-a[1]) < 0.058 {
			return true
		}
		if b := nodes[(i+1)%len(nodes)]; toSegment(x, y, a, b) < line*0.6 {
			return true
		}
	}
	return false
}

// toSegment is the distance of a point to the line from a to b.
func toSegment(x, y float64, a, b [2]float64) float64 {
	dx, dy := b[0]-a[0], b[1]-a[1]
	t := ((x-a[0])*dx + (y-a[1])*dy) / (dx*dx + dy*dy)
	t = math.Max(0, math.Min(1, t))
	return math.Hypot(x-a[0]-t*dx, y-a[1]-t*dy)
}
