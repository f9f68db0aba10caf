// Package jupyter is a Jupyter server for one person's folder: kernels,
// sessions, channels, terminals and what else Jupyter's clients ask for, over
// HTTP and WebSockets. Files are served by package api, from a contents.Volume.
//
// What it promises beyond the protocol:
//   - A message that a kernel publishes reaches every client that was connected
//     when it came, in order, however slowly the client reads: what waits is kept
//     on the disk when it is large. Nothing is dropped for its rate.
//   - A client that comes back with the same session id gets what it missed. What
//     it had confirmed (by answering a ping) is not sent again.
//   - A dead kernel says why: in its model, as a status message, and in the cell
//     that ran.
//   - Kernels live on when every client is gone, and end with the Server.
package jupyter
