// Package wire is the bytes of the Jupyter kernel protocol: ZMTP 3.0, the
// transport of ZeroMQ (zmtp.go), and the signed multipart messages that travel
// over it (message.go).
//
// Only what a kernel's client needs of ZMTP is here: the NULL mechanism, the
// DEALER and SUB sockets of a client and, for package serve, ROUTER, PUB and
// REP. Peers that were seen to work are libzmq (ipykernel, IRkernel, xeus)
// and zeromq.rs (Deno).
//
// A peer is not trusted: the size of a message is bounded before memory for it
// is taken, a message with a wrong or repeated signature is refused, and no
// input makes a function of this package panic.
package wire
