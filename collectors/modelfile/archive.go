package modelfile

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"io"
	"slices"
	"strings"
)

// Zip archives are read by our own reader, because what matters here is where
// readers disagree: a directory that names one thing and an entry's own header
// that names another, entries that no directory names, several directories,
// flags that one reader obeys and another ignores. Every reading is looked at.
// Fields as in PKWARE's APPNOTE.TXT, 4.3.

const (
	zipLocal     = "PK\x03\x04"
	zipCentral   = "PK\x01\x02"
	zipEnd       = "PK\x05\x06"
	zipEnd64     = "PK\x06\x06"
	zipLocator64 = "PK\x06\x07"

	zipEndSize   = 22
	zipLocalSize = 30
	zipMaxTail   = zipEndSize + 1<<16

	zipFlagEncrypted  = 1
	zipFlagDescriptor = 8 // sizes stand behind the data
)

// A zipDirectory is where a central directory stands.
type zipDirectory struct {
	start, size int64
	count       int64
	base        int64 // what is in front of the archive
}

// A zipEntry is an entry as one of its two headers tells it.
type zipEntry struct {
	name         string
	flags        uint16
	method       uint16
	packed, size int64
	offset       int64 // of the local header
}

// A span is a range of bytes [from, to).
type span struct{ from, to int64 }

// zip looks at the entries of a zip archive.
func (s *scanner) zip(src source, r *bufio.Reader) bool {
	if src.at == nil {
		room := s.lim.Capture - s.captured
		b, err := io.ReadAll(io.LimitReader(r, room+1))
		if err != nil || int64(len(b)) > room {
			s.find(Finding{Code: OverLimit, Where: src.where, Detail: "bytes of a nested archive"})
			return true
		}
		s.captured += int64(len(b))
		defer func() { s.captured -= int64(len(b)) }()
		src = s.fileSource(bytes.NewReader(b), int64(len(b)), src)
	}
	dirs, used := s.zipDirectories(src)
	if len(dirs) == 0 {
		s.find(Finding{Code: Damaged, Where: src.where, Detail: "no directory of entries"})
		s.unlisted(src, span{0, src.size})
		return true
	}
	if len(dirs) > 1 {
		s.find(Finding{Code: HeaderMismatch, Where: src.where, Detail: "several directories"})
	}
	for _, d := range dirs {
		if !s.directory(src, d, &used) {
			return true
		}
	}
	// Whatever lies between the entries is in no directory.
	slices.SortFunc(used, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	end := int64(0)
	for _, u := range append(used, span{src.size, src.size}) {
		if u.from > end {
			s.unlisted(src, span{end, u.from})
		}
		end = max(end, u.to)
	}
	return true
}

// zipDirectories returns the directories that readers may take for the
// archive's, and what their end records cover.
func (s *scanner) zipDirectories(src source) (dirs []zipDirectory, used []span) {
	tail := make([]byte, min(src.size, zipMaxTail))
	if !s.readAt(src, tail, src.size-int64(len(tail))) {
		return nil, nil
	}
	for i := len(tail) - zipEndSize; i >= 0 && len(dirs) < 4; i-- {
		if string(tail[i:i+4]) != zipEnd {
			continue
		}
		b := tail[i:]
		at := src.size - int64(len(b))
		comment := int64(binary.LittleEndian.Uint16(b[20:]))
		d := zipDirectory{
			count: int64(binary.LittleEndian.Uint16(b[10:])),
			size:  int64(binary.LittleEndian.Uint32(b[12:])),
			start: int64(binary.LittleEndian.Uint32(b[16:])),
		}
		saturated := d.count == 0xffff || d.size == 0xffffffff || d.start == 0xffffffff
		used = append(used, span{at, min(at+zipEndSize+comment, src.size)})
		if d64, from, ok := s.zip64(src, at); ok {
			dirs = s.addDirectory(src, dirs, d64, from)
			used = append(used, span{from, at})
			if !saturated && (d64.count != d.count || d64.size != d.size || d64.start != d.start) {
				dirs = s.addDirectory(src, dirs, d, from)
			}
		} else {
			dirs = s.addDirectory(src, dirs, d, at)
		}
		if at+zipEndSize+comment == src.size && len(dirs) > 0 {
			break // no reader looks further
		}
	}
	return dirs, used
}

// addDirectory adds the places where d may stand: directly in front of its end
// record, and where it says.
func (s *scanner) addDirectory(src source, dirs []zipDirectory, d zipDirectory, end int64) []zipDirectory {
	said := d.start
	for _, start := range []int64{end - d.size, said} {
		if start < 0 || d.size < 0 || start > src.size || d.size > src.size-start {
			continue
		}
		if d.size > 0 {
			var sig [4]byte
			if !s.readAt(src, sig[:], start) || string(sig[:]) != zipCentral {
				continue
			}
		}
		found := zipDirectory{start: start, size: d.size, count: d.count, base: start - said}
		if !slices.Contains(dirs, found) {
			dirs = append(dirs, found)
		}
	}
	return dirs
}

// zip64 reads the end record for large archives in front of the one at end.
func (s *scanner) zip64(src source, end int64) (d zipDirectory, from int64, ok bool) {
	var loc [20]byte
	if end < 20+56 || !s.readAt(src, loc[:], end-20) || string(loc[:4]) != zipLocator64 {
		return d, 0, false
	}
	for _, at := range []int64{int64(binary.LittleEndian.Uint64(loc[8:])), end - 20 - 56} {
		var b [56]byte
		if at < 0 || at > end-20-56 || !s.readAt(src, b[:], at) || string(b[:4]) != zipEnd64 {
			continue
		}
		return zipDirectory{
			count: int64(binary.LittleEndian.Uint64(b[32:])),
			size:  int64(binary.LittleEndian.Uint64(b[40:])),
			start: int64(binary.LittleEndian.Uint64(b[48:])),
		}, at, true
	}
	return d, 0, false
}

// readAt fills b from src at offset off.
func (s *scanner) readAt(src source, b []byte, off int64) bool {
	_, err := io.ReadFull(&meter{s: s, r: io.NewSectionReader(src.at, off, int64(len(b)))}, b)
	return err == nil
}

// directory looks at the entries of one directory; false when it gave up.
func (s *scanner) directory(src source, d zipDirectory, used *[]span) bool {
	*used = append(*used, span{d.start, d.start + d.size})
	r := bufio.NewReaderSize(&meter{s: s, r: io.NewSectionReader(src.at, d.start, d.size)}, 4096)
	seed := maphash.MakeSeed()
	names := make(map[uint64]bool)
	var n int64
	for read := int64(0); read < d.size; n++ {
		if s.entries--; s.entries < 0 {
			s.find(Finding{Code: OverLimit, Where: src.where, Detail: "entries"})
			return false
		}
		e, length, ok := centralEntry(r)
		if !ok {
			s.find(Finding{Code: Damaged, Where: src.where, Offset: d.start + read, Detail: "directory of entries"})
			break
		}
		read += length
		h := maphash.String(seed, e.name)
		if names[h] {
			s.find(Finding{Code: DuplicateEntry, Where: within(src.where, e.name)})
		}
		names[h] = true
		s.entry(src, d.base, e, used)
	}
	if n&0xffff != d.count&0xffff {
		s.find(Finding{Code: HeaderMismatch, Where: src.where, Detail: "number of entries"})
	}
	return true
}

// centralEntry reads an entry of a directory and the length of its record.
func centralEntry(r io.Reader) (e zipEntry, length int64, ok bool) {
	var b [46]byte
	if _, err := io.ReadFull(r, b[:]); err != nil || string(b[:4]) != zipCentral {
		return e, 0, false
	}
	le := binary.LittleEndian
	name, extra, comment := int(le.Uint16(b[28:])), int(le.Uint16(b[30:])), int(le.Uint16(b[32:]))
	rest := make([]byte, name+extra+comment)
	if _, err := io.ReadFull(r, rest); err != nil {
		return e, 0, false
	}
	e = zipEntry{
		name: string(rest[:name]), flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]),
		packed: int64(le.Uint32(b[20:])), size: int64(le.Uint32(b[24:])), offset: int64(le.Uint32(b[42:])),
	}
	e.extend(rest[name:name+extra], true)
	return e, int64(len(b) + len(rest)), true
}

// extend takes the sizes of large entries from the extra field.
func (e *zipEntry) extend(extra []byte, central bool) {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			return
		}
		if id != 1 {
			extra = extra[n:]
			continue
		}
		field := extra[:n]
		for _, v := range []*int64{&e.size, &e.packed, &e.offset} {
			if v == &e.offset && !central {
				return
			}
			if *v == 0xffffffff && len(field) >= 8 {
				*v = int64(binary.LittleEndian.Uint64(field))
				field = field[8:]
			}
		}
		return
	}
}

// localEntry reads an entry's own header and where its data begins.
func (s *scanner) localEntry(src source, at int64) (e zipEntry, data int64, ok bool) {
	var b [zipLocalSize]byte
	if at < 0 || at > src.size-zipLocalSize || !s.readAt(src, b[:], at) || string(b[:4]) != zipLocal {
		return e, 0, false
	}
	le := binary.LittleEndian
	name, extra := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	rest := make([]byte, name+extra)
	if !s.readAt(src, rest, at+zipLocalSize) {
		return e, 0, false
	}
	e = zipEntry{
		name: string(rest[:name]), flags: le.Uint16(b[6:]), method: le.Uint16(b[8:]),
		packed: int64(le.Uint32(b[18:])), size: int64(le.Uint32(b[22:])), offset: at,
	}
	e.extend(rest[name:], false)
	return e, at + zipLocalSize + int64(len(rest)), true
}

// entry looks at one entry of a directory, in every reading of it.
func (s *scanner) entry(src source, base int64, e zipEntry, used *[]span) {
	where := within(src.where, e.name)
	if !safeName(e.name) {
		s.find(Finding{Code: UnsafeName, Where: where})
	}
	local, data, ok := s.localEntry(src, base+e.offset)
	if !ok {
		s.find(Finding{Code: HeaderMismatch, Where: where, Detail: "the directory points to no entry"})
		return
	}
	if (e.flags|local.flags)&zipFlagEncrypted != 0 {
		s.find(Finding{Code: Encrypted, Where: where})
	}
	descriptor := local.flags&zipFlagDescriptor != 0
	end := data + min(max(e.packed, 0), src.size-data)
	covered := span{base + e.offset, end}
	if descriptor {
		covered.to = min(end+descriptorSize(s, src, end), src.size)
	}
	*used = append(*used, covered)
	if e.packed < 0 || e.packed > src.size-data {
		s.find(Finding{Code: Damaged, Where: where, Detail: "longer than the file"})
	}
	s.entryData(src, e, data)
	if local.name != e.name || local.method != e.method || !descriptor && (local.packed != e.packed || local.size != e.size) {
		s.find(Finding{Code: HeaderMismatch, Where: where, Detail: "the directory and the entry's own header"})
		if descriptor {
			local.packed, local.size = e.packed, e.size
		}
		s.entryData(src, local, data)
	}
}

// descriptorSize returns the length of the sizes that stand behind data: CRC
// and two sizes of 4 or 8 bytes, with or without a signature.
func descriptorSize(s *scanner, src source, end int64) int64 {
	var b [28]byte
	n := int64(len(b))
	for ; n >= 16; n -= 4 {
		if end+n <= src.size && s.readAt(src, b[:n], end) {
			break
		}
	}
	if n < 16 {
		return 0
	}
	signature := int64(0)
	if string(b[:4]) == "PK\x07\x08" {
		signature = 4
	}
	for _, size := range []int64{12, 20} {
		next := signature + size
		if next+4 <= n && (string(b[next:next+4]) == zipLocal || string(b[next:next+4]) == zipCentral) {
			return next
		}
	}
	return signature + 12
}

// zipMethods are the compressions that can be undone, beside 0: none.
var zipMethods = map[uint16]Format{8: "deflate", 12: "bzip2", 20: "zstd", 93: "zstd"}

// entryData looks at what an entry holds.
func (s *scanner) entryData(src source, e zipEntry, data int64) {
	packed := min(max(e.packed, 0), src.size-data)
	if packed == 0 || s.ctx.Err() != nil {
		return
	}
	in := source{where: within(src.where, e.name), depth: src.depth + 1, class: Classify(e.name)}
	in = s.fileSource(io.NewSectionReader(src.at, data, packed), packed, in)
	if e.method != 0 {
		f, ok := zipMethods[e.method]
		if !ok {
			s.find(Finding{Code: NotExamined, Where: in.where, Detail: "compression method"})
			return
		}
		in = s.unpacked(in, f)
	}
	if src.class.Role == RoleWeights && in.class.Format == "python" && !strings.Contains("/"+e.name, "/code/") {
		s.find(Finding{Code: CarriesCode, Where: in.where, Detail: "Python source"})
	}
	if src.class.Format == "keras" && in.class.Format == "json" {
		if stream, err := in.open(); err == nil {
			r := s.buffered(stream)
			s.keras(in, r)
			s.spare = append(s.spare, r)
		}
		return
	}
	s.scan(in)
}

// unlisted looks at bytes of an archive that no directory names: for pickles,
// and for entries that a reader would find which goes by their own headers.
func (s *scanner) unlisted(src source, gap span) {
	s.find(Finding{Code: HiddenBytes, Where: src.where, Offset: gap.from, Detail: "bytes of no entry"})
	s.sweepRange(src, gap.from, gap.to)
	r := s.buffered(&meter{s: s, r: io.NewSectionReader(src.at, gap.from, gap.to-gap.from)})
	defer func() { s.spare = append(s.spare, r) }()
	at := gap.from
	for {
		b, err := r.Peek(window)
		i := bytes.Index(b, []byte(zipLocal))
		if i < 0 {
			if err != nil {
				return
			}
			i = len(b) - len(zipLocal)
		} else {
			if s.attempts--; s.attempts < 0 {
				s.find(Finding{Code: OverLimit, Where: src.where, Offset: at + int64(i), Detail: "entries in no directory"})
				return
			}
			if e, data, ok := s.localEntry(src, at+int64(i)); ok {
				if e.packed == 0 {
					e.packed = gap.to - data // the sizes stand behind the data
				}
				s.entryData(src, e, data)
			}
			i += len(zipLocal)
		}
		if _, err := r.Discard(i); err != nil {
			return
		}
		at += int64(i)
	}
}

// appendedZip looks at an archive that stands behind something else. Where
// expected, the archive may be what a pickle holds as bytes: then its entries
// are looked at all the same, but that it is there is no finding.
func (s *scanner) appendedZip(src source, expected bool) bool {
	if src.at == nil || src.size < zipEndSize {
		return false
	}
	dirs, _ := s.zipDirectories(src)
	dirs = slices.DeleteFunc(dirs, func(d zipDirectory) bool { return d.size == 0 })
	if len(dirs) == 0 {
		return false
	}
	if !expected {
		s.find(Finding{Code: Polyglot, Where: src.where, Detail: "an archive behind something else"})
		return s.zip(src, nil)
	}
	var used []span
	for _, d := range dirs {
		s.directory(src, d, &used)
	}
	return true
}
