/// Where the channels of a map lie within its tensor, over host values.
package struct MapExtents: Hashable, Sendable, CustomStringConvertible {
  package var batch, height, width, channels: Int
  /// Elements from one pixel to the next, and where in a pixel the map begins.
  package var pitch, channelOffset: Int

  package init(
    batch: Int, height: Int, width: Int, channels: Int, pitch: Int? = nil, channelOffset: Int = 0
  ) {
    self.batch = batch
    self.height = height
    self.width = width
    self.channels = channels
    self.pitch = pitch ?? channels
    self.channelOffset = channelOffset
  }

  package var positions: Int { batch * height * width }

  /// The map's entries of its tensor's.
  package func part<Value>(of whole: [Value]) -> [Value] {
    (0..<positions).flatMap { position in
      let start = position * pitch + channelOffset
      return whole[start..<start + channels]
    }
  }

  /// The tensor's entries: the map's, and beside them those from before, exactly.
  package func whole(_ part: Expectation, else before: [Float]) -> Expectation {
    var result = Expectation(exactly: before.map(Double.init))
    for position in 0..<positions {
      for c in 0..<channels {
        let place = position * pitch + channelOffset + c
        result.values[place] = part.values[position * channels + c]
        result.bounds[place] = part.bounds[position * channels + c]
      }
    }
    return result
  }

  package var description: String {
    "\(batch)x\(height)x\(width)x\(channels)" + (pitch > channels ? " of \(pitch)" : "")
  }
}
