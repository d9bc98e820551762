"""The media proxy: images of the catalog for annotators' browsers, to holders of a signed address alone."""
