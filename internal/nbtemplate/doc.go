// Package nbtemplate publishes notebooks: a template is a notebook with a
// parameters cell that others run by a form. Each publication is a version that
// never changes: its source is kept by what it is in the object store, its
// schema is read from its parameters cell, as everywhere. Editing the notebook
// afterwards changes nothing that is published; publishing it again makes the
// next version.
package nbtemplate
