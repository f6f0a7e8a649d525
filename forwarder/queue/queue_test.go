package queue

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir() + "/state"
	q, err := Open(dir, Options{})
	require.NoError(t, err)
	in, err := q.Input("aiwatch_s3://prod", "s3://logs/", "")
	require.NoError(t, err)
	require.True(t, in.Fresh)
	h := Header{ID: q.NewID(), Index: "ai", Input: in.Name(), Events: 3, First: 1, Last: 3, Raw: 30, Created: q.now()}
	require.NoError(t, q.Commit(func(tx *Tx) error {
		if err := tx.Add(h, []byte("body")); err != nil {
			return err
		}
		if err := tx.SetSeq(in.Name(), 3); err != nil {
			return err
		}
		return tx.PutState(in, map[string][]byte{"at": []byte("1")})
	}))
	id := q.Collector()
	require.NoError(t, q.Close())
	q, err = Open(dir, Options{})
	require.NoError(t, err)
	c, _ := q.Condition()
	require.Equal(t, Known, c)
	require.Equal(t, id, q.Collector())
	got, found, err := q.Next("ai", 0)
	require.NoError(t, err)
	require.True(t, found)
	b, err := q.Body(got, nil)
	require.NoError(t, err)
	require.Equal(t, "body", string(b))
	_, err = Open(dir, Options{})
	require.ErrorIs(t, err, ErrHeld)
	require.NoError(t, q.Update(func(tx *Tx) error { return tx.Remove(got) }))
	require.Zero(t, q.Depth())
	in, err = q.Input("aiwatch_s3://prod", "s3://logs/", "")
	require.NoError(t, err)
	require.Equal(t, uint64(3), in.Seq)
	v, err := in.Get("at")
	require.NoError(t, err)
	require.Equal(t, "1", string(v))
	require.NoError(t, q.Close())
}
