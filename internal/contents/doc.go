// Package contents is the workspaces: files on a volume that people read and
// write, every save of a notebook a version that can be opened, compared and
// restored, what is deleted kept in a trash, and read-only mounts of object
// stores beside them.
//
// # The volume
//
//	users/<name>/...   the workspace of one person, written by its owner
//	shared/...         written by everybody
//	mounts/<name>/...  read-only, from an object store
//
// Every access to the disk goes through tree, a wrapper on os.Root that is
// opened per workspace: no path, link or race leads from one workspace into
// another or out of the volume. Names that begin with a dot do not exist here.
//
// # Saves
//
// A save is acknowledged when its bytes are in the blob store and its version
// is committed; the file is then replaced whole. A server that dies between the
// two replaces the file when it starts again. See versions.go.
package contents
