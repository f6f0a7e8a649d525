package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, version 2 (go.etcd.io/bbolt internal/common): pages
// with a header of 16 bytes (id, flags, count, overflow), of which 0 and 1 are
// meta pages and each branch or leaf page holds an array of 16-byte elements
// that point at keys and values behind it.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	pageHeader   = 16
	element      = 16
	metaSize     = 64
	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	bucketLeaf   = 0x01
	bucketHeader = 16
	maxDepth     = 64
	maxPageRun   = 64 << 20 // bytes; no value of ours comes near
	minPage      = 1 << 10
	maxPage      = 64 << 10
)

// checker walks the pages of a file.
type checker struct {
	file     io.ReaderAt
	pageSize int
	pages    uint64 // pages in use end here
	seen     []uint64
}

// checkFile says what is wrong with the structure of a bbolt file of this size.
// It reads each branch and leaf page, but no more of a large value than that it
// is inside its page run, and holds a bit for each page.
func checkFile(file io.ReaderAt, size int64) error {
	meta, err := newestMeta(file, size)
	if err != nil {
		return err
	}
	c := &checker{file: file, pageSize: meta.pageSize, pages: meta.pages, seen: make([]uint64, meta.pages/64+1)}
	if int64(meta.pages) > size/int64(meta.pageSize) {
		return fmt.Errorf("the file ends after %d bytes, it should have %d pages of %d", size, meta.pages, meta.pageSize)
	}
	return c.tree(meta.root, nil, nil, 0)
}

type boltMeta struct {
	pageSize          int
	root, pages, txid uint64
}

// newestMeta returns the younger of the two meta pages that is whole.
func newestMeta(file io.ReaderAt, size int64) (newest boltMeta, err error) {
	found := false
	for pageSize := int64(minPage); pageSize <= maxPage; pageSize *= 2 {
		for _, at := range []int64{0, pageSize} {
			var b [pageHeader + metaSize]byte
			if _, err := file.ReadAt(b[:], at); err != nil {
				continue
			}
			m, ok := parseMeta(b[:])
			if !ok || int64(m.pageSize) != pageSize || m.pages < 4 || m.pages > uint64(size) {
				continue
			}
			if !found || m.txid > newest.txid {
				newest, found = m, true
			}
		}
		if found {
			return newest, nil
		}
	}
	return boltMeta{}, errors.New("it has no readable meta page")
}

func parseMeta(b []byte) (boltMeta, bool) {
	flags := binary.NativeEndian.Uint16(b[8:])
	b = b[pageHeader:]
	ok := flags&metaPage != 0 &&
		binary.NativeEndian.Uint32(b) == boltMagic &&
		binary.NativeEndian.Uint32(b[4:]) == boltVersion &&
		binary.NativeEndian.Uint64(b[56:]) == fnvSum(b[:56])
	return boltMeta{
		pageSize: int(binary.NativeEndian.Uint32(b[8:])),
		root:     binary.NativeEndian.Uint64(b[16:]),
		pages:    binary.NativeEndian.Uint64(b[40:]),
		txid:     binary.NativeEndian.Uint64(b[48:]),
	}, ok
}

// fnvSum is the checksum of a meta page.
func fnvSum(b []byte) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(b)
	return sum.Sum64()
}

// tree checks the page and what is below it. Its keys are not below low and,
// where high is not nil, below high.
func (c *checker) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d: the tree is too deep", id)
	}
	p, size, err := c.read(id)
	if err != nil {
		return err
	}
	flags, count := binary.NativeEndian.Uint16(p[8:]), int(binary.NativeEndian.Uint16(p[10:]))
	if pageHeader+count*element > len(p) {
		return fmt.Errorf("page %d: %d elements do not fit", id, count)
	}
	switch flags {
	case branchPage:
		return c.branch(id, p, count, low, high, depth)
	case leafPage:
		return c.leaf(id, p, size, count, low, high, depth)
	}
	return fmt.Errorf("page %d: unknown kind %#x", id, flags)
}

func (c *checker) branch(id uint64, p []byte, count int, low, high []byte, depth int) error {
	type child struct {
		key  []byte
		page uint64
	}
	children := make([]child, count)
	for i := range children {
		at := pageHeader + i*element
		pos, ksize := int(binary.NativeEndian.Uint32(p[at:])), int(binary.NativeEndian.Uint32(p[at+4:]))
		if ksize == 0 || at+pos+ksize > len(p) || pos < element {
			return fmt.Errorf("page %d: element %d lies outside", id, i)
		}
		children[i] = child{p[at+pos : at+pos+ksize], binary.NativeEndian.Uint64(p[at+8:])}
	}
	if count == 0 {
		return fmt.Errorf("page %d: a branch without children", id)
	}
	for i, ch := range children {
		if low != nil && bytes.Compare(ch.key, low) < 0 || high != nil && bytes.Compare(ch.key, high) >= 0 {
			return fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		next := high
		if i+1 < count {
			next = children[i+1].key
			if bytes.Compare(ch.key, next) >= 0 {
				return fmt.Errorf("page %d: key %d is out of order", id, i)
			}
		}
		if err := c.tree(ch.page, ch.key, next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a leaf of size bytes, of which p is the part that holds its
// elements and keys.
func (c *checker) leaf(id uint64, p []byte, size, count int, low, high []byte, depth int) error {
	var before []byte
	for i := range count {
		at := pageHeader + i*element
		flags := binary.NativeEndian.Uint32(p[at:])
		pos, ksize, vsize := int(binary.NativeEndian.Uint32(p[at+4:])), int(binary.NativeEndian.Uint32(p[at+8:])), int(binary.NativeEndian.Uint32(p[at+12:]))
		start, end := at+pos+ksize, at+pos+ksize+vsize // of the value
		if ksize == 0 || pos < element || start > len(p) || end > size || flags != 0 && end > len(p) {
			return fmt.Errorf("page %d: element %d lies outside", id, i)
		}
		key := p[at+pos : start]
		if low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 || before != nil && bytes.Compare(before, key) >= 0 {
			return fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		before = key
		switch flags {
		case 0:
			continue
		case bucketLeaf:
		default:
			return fmt.Errorf("page %d: element %d has unknown flags %#x", id, i, flags)
		}
		if vsize < bucketHeader {
			return fmt.Errorf("page %d: element %d is no bucket", id, i)
		}
		if err := c.bucket(id, p[start:end], depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket, whose value is the page of its root or, with page 0,
// its one leaf page itself.
func (c *checker) bucket(id uint64, value []byte, depth int) error {
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return c.tree(root, nil, nil, depth+1)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != leafPage {
		return fmt.Errorf("page %d: a bucket without a page", id)
	}
	count := int(binary.NativeEndian.Uint16(inline[10:]))
	if pageHeader+count*element > len(inline) || depth > maxDepth {
		return fmt.Errorf("page %d: a bucket's %d elements do not fit", id, count)
	}
	return c.leaf(id, inline, len(inline), count, nil, nil, depth+1)
}

// read returns a page with what overflows it and its size, each for the first
// time. Of a page run with a single large value only the first page is read.
func (c *checker) read(id uint64) (p []byte, size int, err error) {
	if id < 2 || id >= c.pages {
		return nil, 0, fmt.Errorf("page %d: there is no such page", id)
	}
	var head [pageHeader]byte
	if _, err := c.file.ReadAt(head[:], int64(id)*int64(c.pageSize)); err != nil {
		return nil, 0, fmt.Errorf("page %d: %w", id, err)
	}
	run := uint64(binary.NativeEndian.Uint32(head[12:])) + 1
	if binary.NativeEndian.Uint64(head[:]) != id || id+run > c.pages || run*uint64(c.pageSize) > maxPageRun {
		return nil, 0, fmt.Errorf("page %d: its header is wrong", id)
	}
	for i := id; i < id+run; i++ {
		if c.seen[i/64]&(1<<(i%64)) != 0 {
			return nil, 0, fmt.Errorf("page %d: it is used twice", i)
		}
		c.seen[i/64] |= 1 << (i % 64)
	}
	size = int(run) * c.pageSize
	p = make([]byte, size)
	if binary.NativeEndian.Uint16(head[10:]) == 1 {
		p = p[:c.pageSize]
	}
	if _, err := c.file.ReadAt(p, int64(id)*int64(c.pageSize)); err != nil {
		return nil, 0, fmt.Errorf("page %d: %w", id, err)
	}
	return p, size, nil
}
