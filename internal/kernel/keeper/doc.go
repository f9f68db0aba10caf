// Package keeper lets kernels outlive the server that uses them. Their processes
// belong to a process of their own, the keeper: it starts them, reads all that
// they say, numbers it and keeps what the server has not settled. A server that
// was killed and is started again finds the keeper by its socket, and goes on
// behind the last message that it has settled.
//
// The keeper lives as long as its owner wants: a server that ends asks it to
// end. Without an owner it ends by itself, when nothing has run for a while; see
// Options.
package keeper
