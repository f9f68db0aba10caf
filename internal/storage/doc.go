// Package storage keeps bytes by path: the files of a folder, the objects of a
// bucket, the resources of a web server.
//
// [Store] is the seam. Its drivers are the packages below this one (local, mem,
// blob, web); every one passes the suite of package storagetest, where a change
// of behaviour starts. Only package server, and tests, import a driver.
//
// What every driver promises:
//
//   - Nothing is ever half visible. A reader sees the bytes of one complete Put
//     or of none, also when the writer is killed in the middle.
//   - When Put returns nil the bytes are durable as far as the medium can make
//     them so: synced to disk, or acknowledged by the object store.
//   - A conditional Put is race-free: of any number of writers that ask for
//     IfNotExist at once, in one process or many, one wins.
//   - Errors name the thing (a path or URL, never a credential) and carry a
//     [problem.Kind].
package storage
