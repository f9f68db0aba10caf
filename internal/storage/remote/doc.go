// Package remote keeps files behind HTTP: in Amazon S3 and what speaks like it, in
// Google Cloud Storage, in Azure Blob Storage, and on plain web servers.
//
// One [Store] does what they share: checks, retries, ranges, resuming a broken
// read, sending a large file in parts, and errors. A dialect per service knows its
// requests and answers. Why no vendor's SDK is used is in docs/adr/0003.
package remote
