import Compute

extension CheckedBackend {
  package func sparseTopK(_ a: Floats, indices: Indices, values: Floats) throws {
    let expected = Oracle.sparseTopK(
      try host(a), batch: a.shape[0], kept: SparseCodeShape(indices: indices, values: values).kept)
    try device.sparseTopK(a.onDevice(), indices: indices.onDevice(), values: values.onDevice())
    try oracle.sparseTopK(a.onOracle(), indices: indices.onOracle(), values: values.onOracle())
    try settle("sparseTopK", exactly: [("indices", indices)])
    try settle("sparseTopK", [("values", values, expected.values)])
  }

  package func sparseScatter(indices: Indices, values: Floats, into z: Floats) throws {
    let expected = Oracle.sparseScatter(
      try host(indices), try host(values), batch: z.shape[0], latents: z.shape[1])
    try device.sparseScatter(
      indices: indices.onDevice(), values: values.onDevice(), into: z.onDevice())
    try oracle.sparseScatter(
      indices: indices.onOracle(), values: values.onOracle(), into: z.onOracle())
    try settle("sparseScatter", [("z", z, expected)])
  }

  package func sparseDecode(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, into y: Floats
  ) throws {
    let expected = Oracle.sparseDecode(
      try host(indices), try host(values), weight: try host(w), bias: try host(bias),
      batch: y.shape[0])
    try device.sparseDecode(
      indices: indices.onDevice(), values: values.onDevice(), weight: w.onDevice(),
      bias: bias.onDevice(), into: y.onDevice())
    try oracle.sparseDecode(
      indices: indices.onOracle(), values: values.onOracle(), weight: w.onOracle(),
      bias: bias.onOracle(), into: y.onOracle())
    try settle("sparseDecode", [("y", y, expected)])
  }

  package func sparsePass(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, target x: Floats,
    scale: Float, gradient: Floats, codeGradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    let expected = Oracle.sparsePass(
      try host(indices), try host(values), weight: try host(w), bias: try host(bias),
      target: try host(x), scale: scale, batch: x.shape[0])
    try device.sparsePass(
      indices: indices.onDevice(), values: values.onDevice(), weight: w.onDevice(),
      bias: bias.onDevice(), target: x.onDevice(), scale: scale, gradient: gradient.onDevice(),
      codeGradient: codeGradient.onDevice(), rowError: rowError.onDevice(),
      rowL0: rowL0.onDevice())
    try oracle.sparsePass(
      indices: indices.onOracle(), values: values.onOracle(), weight: w.onOracle(),
      bias: bias.onOracle(), target: x.onOracle(), scale: scale, gradient: gradient.onOracle(),
      codeGradient: codeGradient.onOracle(), rowError: rowError.onOracle(),
      rowL0: rowL0.onOracle())
    try settle(
      "sparsePass",
      [
        ("gradient", gradient, expected[0]), ("codeGradient", codeGradient, expected[1]),
        ("rowError", rowError, expected[2]), ("rowL0", rowL0, expected[3]),
      ])
  }

  package func sparseGroup(
    indices: Indices, values: Floats, offsets: Indices, entries: Indices,
    accumulatingFirings firings: Indices
  ) throws {
    try device.sparseGroup(
      indices: indices.onDevice(), values: values.onDevice(), offsets: offsets.onDevice(),
      entries: entries.onDevice(), accumulatingFirings: firings.onDevice())
    try oracle.sparseGroup(
      indices: indices.onOracle(), values: values.onOracle(), offsets: offsets.onOracle(),
      entries: entries.onOracle(), accumulatingFirings: firings.onOracle())
    let ends = try host(offsets)
    // What lies behind the last offset is unspecified.
    let sorted = entries.view(at: 0, shape: [Int(ends[ends.count - 1])])
    try settle(
      "sparseGroup", exactly: [("offsets", offsets), ("entries", sorted), ("firings", firings)])
  }

  package func sparseGradients(
    _ batch: SparseBatch<Storage>, decoder dD: Floats, encoder dE: Floats, bias db: Floats
  ) throws {
    // Rows of latents without entries keep what they hold, which both sides must then share.
    for tensor in [dD, dE, db] {
      try oracle.upload(device.download(tensor.onDevice()), into: tensor.onOracle())
    }
    let expected = Oracle.sparseGradients(
      try host(batch), before: (try host(dD), try host(dE), try host(db)))
    try device.sparseGradients(
      batch.onDevice(), decoder: dD.onDevice(), encoder: dE.onDevice(), bias: db.onDevice())
    try oracle.sparseGradients(
      batch.onOracle(), decoder: dD.onOracle(), encoder: dE.onOracle(), bias: db.onOracle())
    try settle(
      "sparseGradients",
      [("dD", dD, expected[0]), ("dE", dE, expected[1]), ("db", db, expected[2])]
    )
  }

  package func sparseUpdate(_ batch: SparseBatch<Storage>, _ state: SparseAdam<Storage>) throws {
    let expected = Oracle.sparseUpdate(
      try host(batch), decoder: try host(state.decoder), encoder: try host(state.encoder),
      bias: try host(state.bias), step: state.step, encoderStep: state.encoderStep,
      unitNorm: state.unitNorm)
    try device.sparseUpdate(
      batch.onDevice(),
      SparseAdam(
        decoder: state.decoder.onDevice(), encoder: state.encoder.onDevice(),
        bias: state.bias.onDevice(), step: state.step, encoderStep: state.encoderStep,
        unitNorm: state.unitNorm))
    try oracle.sparseUpdate(
      batch.onOracle(),
      SparseAdam(
        decoder: state.decoder.onOracle(), encoder: state.encoder.onOracle(),
        bias: state.bias.onOracle(), step: state.step, encoderStep: state.encoderStep,
        unitNorm: state.unitNorm))
    try settle(
      "sparseUpdate",
      [
        ("D", state.decoder, expected.decoder), ("E", state.encoder, expected.encoder),
        ("b", state.bias, expected.bias),
      ].flatMap { name, parameter, wanted in
        [
          (name, parameter.value, wanted.value),
          ("\(name)'s first moment", parameter.firstMoment, wanted.first),
          ("\(name)'s second moment", parameter.secondMoment, wanted.second),
        ]
      })
  }

  private func host(_ batch: SparseBatch<Storage>) throws -> HostSparseBatch {
    HostSparseBatch(
      offsets: try host(batch.offsets), entries: try host(batch.entries),
      values: try host(batch.values), codeGradient: try host(batch.codeGradient),
      input: try host(batch.input), gradient: try host(batch.gradient),
      kept: batch.values.shape[1], width: batch.input.shape[1])
  }

  private func host(_ parameter: AdamParameter<Storage>) throws -> AdamTriple<[Float]> {
    AdamTriple(
      value: try host(parameter.value), first: try host(parameter.firstMoment),
      second: try host(parameter.secondMoment))
  }
}

extension SparseBatch {
  fileprivate func onDevice<D, H>() -> SparseBatch<D> where Storage == CheckedStorage<D, H> {
    SparseBatch<D>(
      offsets: offsets.onDevice(), entries: entries.onDevice(), values: values.onDevice(),
      codeGradient: codeGradient.onDevice(), input: input.onDevice(),
      gradient: gradient.onDevice())
  }

  fileprivate func onOracle<D, H>() -> SparseBatch<H> where Storage == CheckedStorage<D, H> {
    SparseBatch<H>(
      offsets: offsets.onOracle(), entries: entries.onOracle(), values: values.onOracle(),
      codeGradient: codeGradient.onOracle(), input: input.onOracle(),
      gradient: gradient.onOracle())
  }
}

extension AdamParameter {
  fileprivate func onDevice<D, H>() -> AdamParameter<D> where Storage == CheckedStorage<D, H> {
    AdamParameter<D>(
      value: value.onDevice(), firstMoment: firstMoment.onDevice(),
      secondMoment: secondMoment.onDevice())
  }

  fileprivate func onOracle<D, H>() -> AdamParameter<H> where Storage == CheckedStorage<D, H> {
    AdamParameter<H>(
      value: value.onOracle(), firstMoment: firstMoment.onOracle(),
      secondMoment: secondMoment.onOracle())
  }
}
