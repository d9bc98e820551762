"""Every place where goldloop keeps something of a content: a room for each kind of place."""
