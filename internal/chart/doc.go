// Package chart draws tables as pictures: SVG without script, style or anything
// that is loaded, which takes its colours from the stylesheet of the page that
// holds it. The viewer, the editor and the pages all draw with it, so that one
// table and one choice look the same everywhere.
package chart
