package base

import "github.com/moqrelay/moqrelay/relay/moq"

// TakeDatagrams has the datagrams of the subscription wait in m, under its id.
func (d *Delivery) TakeDatagrams(m *moq.Mailbox) { d.sub.TakeDatagrams(m, d.id) }
