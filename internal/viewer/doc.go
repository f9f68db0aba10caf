// Package viewer shows notebooks and other files to people: as HTML that is
// complete before any script runs, as the difference between two notebooks,
// and as a script or a text.
//
// # What is trusted
//
// Nothing that comes from a notebook is. A page of this package holds no
// script, no event handler, no style attribute and no address that a browser
// would load by itself, whatever the notebook says:
//
//   - text is escaped where it is written;
//   - markdown and the HTML of outputs pass sanitize, an allow-list, as the
//     last step; what we add (formulas, coloured code) goes in after it, only
//     between tags and never into an attribute;
//   - SVG is only ever the source of an img element, where browsers run no
//     script and load nothing;
//   - an output that needs script is shown in a frame with the sandbox
//     attribute and without allow-same-origin, from an address of its own
//     (Options.FrameURL) with a policy of its own (FrameCSP).
//
// # Bounds
//
// Every output is cut at Options.MaxOutputBytes, with a link to the whole;
// formulas, JSON trees, tables and markdown have bounds of their own, named as
// constants beside the code.
package viewer
