// Package archive keeps a copy of all events in files of one folder, so that an
// audit can look back where there is no Splunk. Writer writes it, Open reads it.
//
// A file holds a day (UTC): the day on which its events were committed to the
// queue, not the one on which they happened. So files only grow at their end, an
// event that arrives late goes where everything else goes, and retention counts
// from the moment when we had the event. A reader that asks for a span of event
// times passes over what lies outside by the blocks' headers.
//
//	events-2026-11-27.ndjson.zst
//
// is a row of blocks: a zstd frame of lines, each an event in its envelope with
// indextime, behind a skippable frame with the block's header (block.go). All
// zstd tools read it: zstd -dc FILE.
//
// The archive is written in the queue's commit. Append brings blocks to the disk
// behind what is committed, then the queue commits its batches together with the
// position after them. Dead in between, the next start finds bytes behind the
// position and cuts them off: what they held was not committed, and is collected
// anew. So the archive holds each event that was committed, once. When it can't
// be written nothing is committed, and collectors wait.
//
// What is cut is proven to be that one transaction: each block says behind which
// position its transaction was written. Everything else that does not fit (a
// file that is gone or shorter, an older state) is told, and no whole block is
// ever removed for it.
//
// It knows nothing of the queue or of what an event means.
package archive
