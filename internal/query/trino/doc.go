// Package trino is the source for Trino, by its REST protocol: a statement is
// posted, and each answer has some rows, how far the statement is, and the
// address of the next answer.
//
// The protocol has no typed parameters: EXECUTE takes literals of SQL, which are
// written here from values whose form is known, and sent apart from the
// statement, whose text is a header. Each statement is alone: what USE or SET
// SESSION say does not last.
package trino
