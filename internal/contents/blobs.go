package contents

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"

	"quire/internal/problem"
	"quire/internal/storage"
)

// Blobs keeps bytes by what they are: equal bytes are kept once. A large body
// is cut where its content says, so that two versions of a notebook that differ
// in one cell share all but the chunks around it. It is safe for concurrent
// use.
type Blobs struct {
	Store storage.Store // objects "ab/abcdef..." by the hex SHA-256 of their bytes
	// Doomed keeps which objects are to be freed; nil frees none.
	Doomed DoomStore
}

// A Hash is the hex SHA-256 of a body.
type Hash string

// Chunk sizes in bytes. A body up to minChunk is one object.
const (
	minChunk = 64 << 10
	avgChunk = 256 << 10
	maxChunk = 1 << 20
)

// manifest lists the chunks of a body that was cut. Its object is named by the
// hash of the whole body with the suffix ".m".
type manifest struct {
	Size   int64  `json:"size"`
	Chunks []Hash `json:"chunks"`
}

// Put keeps all that r holds and returns its hash and size in bytes. When it
// returns, the bytes are on the store for good. It holds at most two chunks in
// memory.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (Hash, int64, error) {
	whole := sha256.New()
	chunks := newChunker(io.TeeReader(r, whole))
	var m manifest
	for {
		chunk, err := chunks.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", 0, err
		}
		hash, err := b.putChunk(ctx, chunk)
		if err != nil {
			return "", 0, err
		}
		m.Chunks = append(m.Chunks, hash)
		m.Size += int64(len(chunk))
	}
	hash := Hash(hex.EncodeToString(whole.Sum(nil)))
	switch len(m.Chunks) {
	case 0:
		_, err := b.putChunk(ctx, nil)
		return hash, 0, err
	case 1:
		return hash, m.Size, nil
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", 0, err
	}
	return hash, m.Size, b.putObject(ctx, objectPath(hash)+".m", data)
}

func (b *Blobs) putChunk(ctx context.Context, chunk []byte) (Hash, error) {
	sum := sha256.Sum256(chunk)
	hash := Hash(hex.EncodeToString(sum[:]))
	return hash, b.putObject(ctx, objectPath(hash), chunk)
}

func (b *Blobs) putObject(ctx context.Context, path string, data []byte) error {
	if err := b.spare(ctx, path); err != nil {
		return err
	}
	_, err := b.Store.Put(ctx, path, bytes.NewReader(data), storage.PutOptions{IfNotExist: true})
	if problem.Is(err, problem.Exists) {
		return nil // the same bytes are there
	}
	return problem.Wrap(err, "keeping a version")
}

// Open returns the body with the given hash. The caller closes it. A chunk
// whose bytes do not match its hash fails the reading.
func (b *Blobs) Open(ctx context.Context, hash Hash) (io.ReadCloser, error) {
	if !validHash(hash) {
		return nil, problem.New(problem.Invalid, "%q is no hash of a version", hash)
	}
	whole, _, err := b.Store.Get(ctx, objectPath(hash), storage.GetOptions{})
	if err == nil {
		return &verified{ReadCloser: whole, sum: sha256.New(), want: hash}, nil
	}
	if !problem.Is(err, problem.NotFound) {
		return nil, problem.Wrap(err, "opening version %.12s", hash)
	}
	m, err := b.manifest(ctx, hash)
	if err != nil {
		return nil, err
	}
	return &chunkReader{ctx: ctx, blobs: b, rest: m.Chunks}, nil
}

func (b *Blobs) readObject(ctx context.Context, path string) ([]byte, error) {
	r, _, err := b.Store.Get(ctx, path, storage.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, 64<<20))
}

func objectPath(hash Hash) string { return string(hash[:2]) + "/" + string(hash) }

func validHash(hash Hash) bool {
	return len(hash) == 64 && strings.Trim(string(hash), "0123456789abcdef") == ""
}

// verified fails at the end of the reading when the bytes were not those asked
// for.
type verified struct {
	io.ReadCloser
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	want Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	_, _ = v.sum.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(v.sum.Sum(nil)) != string(v.want) {
		return n, problem.New(problem.Internal, "version %.12s is damaged on the store: its bytes do not match its hash", v.want)
	}
	return n, err
}

// chunkReader reads the chunks of a body one after another.
type chunkReader struct {
	ctx   context.Context //nolint:containedctx // a reader lives for one call
	blobs *Blobs
	rest  []Hash
	cur   io.ReadCloser
}

func (c *chunkReader) Read(p []byte) (int, error) {
	for {
		if c.cur == nil {
			if len(c.rest) == 0 {
				return 0, io.EOF
			}
			r, _, err := c.blobs.Store.Get(c.ctx, objectPath(c.rest[0]), storage.GetOptions{})
			if err != nil {
				return 0, problem.Wrap(err, "reading a version")
			}
			c.cur = &verified{ReadCloser: r, sum: sha256.New(), want: c.rest[0]}
			c.rest = c.rest[1:]
		}
		n, err := c.cur.Read(p)
		if err != io.EOF {
			return n, err
		}
		if err := c.Close(); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (c *chunkReader) Close() error {
	if c.cur == nil {
		return nil
	}
	err := c.cur.Close()
	c.cur = nil
	return err
}

// A chunker cuts a stream where a rolling sum over its last bytes has enough
// zero bits (the gear hash of FastCDC, Xia et al., USENIX ATC 2016), so that a
// change moves only the cuts beside it.
type chunker struct {
	r    io.Reader
	buf  []byte
	have int
	eof  bool
}

func newChunker(r io.Reader) *chunker { return &chunker{r: r} }

// next returns the next chunk, good until the call after, or io.EOF.
func (c *chunker) next() ([]byte, error) {
	if c.buf == nil {
		c.buf = make([]byte, minChunk, maxChunk)
	}
	for !c.eof && c.have < maxChunk {
		if c.have == len(c.buf) {
			c.buf = append(c.buf, make([]byte, min(len(c.buf), maxChunk-len(c.buf)))...)
		}
		n, err := c.r.Read(c.buf[c.have:])
		c.have += n
		if err == io.EOF {
			c.eof = true
		} else if err != nil {
			return nil, err
		}
	}
	if c.have == 0 {
		return nil, io.EOF
	}
	cut := cutPoint(c.buf[:c.have])
	chunk := bytes.Clone(c.buf[:cut])
	c.have = copy(c.buf, c.buf[cut:c.have])
	return chunk, nil
}

func cutPoint(data []byte) int {
	if len(data) <= minChunk {
		return len(data)
	}
	const mask = uint64(avgChunk-1) << (64 - 18 - 1)
	var sum uint64
	for i := minChunk; i < len(data); i++ {
		sum = sum<<1 + gear[data[i]]
		if sum&mask == 0 {
			return i + 1
		}
	}
	return min(len(data), maxChunk)
}

// gear holds a fixed pseudo-random number for each byte (splitmix64).
var gear = func() (table [256]uint64) {
	state := uint64(0x51697265) // "Qire"
	for i := range table {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb
		table[i] = z ^ (z >> 31)
	}
	return table
}()
