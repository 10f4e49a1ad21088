import Foundation
import Imaging
import RandomNumbers

/// Draws pictures as an electron microscope might take of a tissue, with the class of each pixel:
/// closely packed cells with dark membranes of changing contrast, mottled nuclei, organelles that
/// are as dark as membranes, texture, uneven light, blur, and noise that grows with the light.
///
/// The tissue goes on without end, and any part of it can be drawn by itself: two pictures that
/// overlap agree where they do. The seed decides all.
package struct CellGenerator: Sendable {
  /// What the labels' values mean: cytoplasm (0), membrane (128) and nucleus (255).
  package static let classes: ClassMap = {
    do {
      return try ClassMap(parsing: "cytoplasm=0,membrane=128,nucleus=255")
    } catch {
      preconditionFailure("\(error)")
    }
  }()

  /// A picture and its labels.
  package struct Picture: Equatable, Sendable {
    /// 8-bit grey.
    package let image: Image
    /// 8-bit grey, with the values of `classes`.
    package let labels: Image
    /// The same as class indices.
    package let indices: [UInt8]
  }

  /// Pixels from one cell's middle to the next, on average.
  package let spacing: Float
  package let seed: UInt64

  private let tissue: CellTissue
  private let warpX, warpY: LatticeNoise
  private let light, membraneContrast, fine, coarse, chromatin: LatticeNoise
  private let organelles: Organelles
  private let noiseKey: UInt32

  package init(seed: UInt64, spacing: Float = 44) {
    precondition(spacing >= 16, "cells are at least 16 pixels wide")
    self.seed = seed
    self.spacing = spacing
    // Keys far apart, so that what adds to them meets no other.
    let base = hashed(
      Int(truncatingIfNeeded: seed & 0xFFFF_FFFF), Int(truncatingIfNeeded: seed >> 32), key: 7
    ).0
    func key(_ use: UInt32) -> UInt32 { base &+ use &* 0x0100_0193 }
    tissue = CellTissue(spacing: spacing, key: key(1))
    warpX = LatticeNoise(spacing: spacing * 0.45, key: key(2))
    warpY = LatticeNoise(spacing: spacing * 0.45, key: key(3))
    light = LatticeNoise(spacing: 260, key: key(4))
    membraneContrast = LatticeNoise(spacing: 18, key: key(5))
    fine = LatticeNoise(spacing: 2.6, key: key(6))
    coarse = LatticeNoise(spacing: 9, key: key(7))
    chromatin = LatticeNoise(spacing: 5, key: key(8))
    organelles = Organelles(spacing: 13, key: key(9))
    noiseKey = key(10)
  }

  /// The picture of number `index`, of a tissue of its own.
  package func picture(_ index: Int, width: Int, height: Int) -> Picture {
    var random = SplitMix64(seed: seed, stream: UInt64(index))
    return CellGenerator(seed: random.next(), spacing: spacing)
      .picture(x: 0, y: 0, width: width, height: height)
  }

  /// The part of the tissue whose top left pixel is (x, y), both below 2^20.
  package func picture(x: Int, y: Int, width: Int, height: Int) -> Picture {
    precondition(width > 0 && height > 0, "a picture has pixels")
    let blur: Float = 0.75
    // What the blur looks at.
    let margin = 3
    let (columns, rows) = (width + 2 * margin, height + 2 * margin)
    var brightness = [Float](repeating: 0, count: columns * rows)
    var indices = [UInt8](repeating: 0, count: width * height)
    brightness.withUnsafeMutableBufferPointer { brightness in
      indices.withUnsafeMutableBufferPointer { indices in
        draw(
          brightness, indices, left: x - margin, top: y - margin, columns: columns, rows: rows,
          margin: margin)
      }
      gaussianBlur(brightness, width: columns, height: rows, channels: 1, deviation: blur)
    }
    var pixels = [UInt8](repeating: 0, count: width * height)
    for row in 0..<height {
      for column in 0..<width {
        let value = brightness[(row + margin) * columns + column + margin]
        // The deviation of counted electrons grows with the root of their number.
        let noise =
          0.065 * max(value, 0.05).squareRoot() * hashedNormal(x + column, y + row, key: noiseKey)
        pixels[row * width + column] = UInt8(min(max((value + noise) * 255, 0), 255).rounded())
      }
    }
    let values = Self.classes.values(of: indices).map { UInt8(truncatingIfNeeded: $0) }
    return Picture(
      image: Image(width: width, height: height, channels: 1, samples: pixels),
      labels: Image(width: width, height: height, channels: 1, samples: values), indices: indices)
  }

  private func draw(
    _ brightness: UnsafeMutableBufferPointer<Float>, _ indices: UnsafeMutableBufferPointer<UInt8>,
    left: Int, top: Int, columns: Int, rows: Int, margin: Int
  ) {
    let warp = spacing * 0.09
    let seeds = tissue.seeds(
      columns: left..<left + columns, rows: top..<top + rows, margin: 6 * warp)
    let fields = [warpX, warpY, light, membraneContrast, fine, coarse, chromatin]
    withUnsafeTemporaryAllocation(of: Float.self, capacity: fields.count * columns) { lines in
      for row in 0..<rows {
        for (i, field) in fields.enumerated() {
          field.row(
            top + row, from: left,
            into: UnsafeMutableBufferPointer(rebasing: lines[i * columns..<(i + 1) * columns]))
        }
        for column in 0..<columns {
          func line(_ i: Int) -> Float { lines[i * columns + column] }
          let place = tissue.place(
            Float(left + column) + warp * line(0), Float(top + row) + warp * line(1), among: seeds)
          let isNucleus = place.nucleusDepth > 0
          var value: Float = 0.66 + 0.035 * place.brightness
          if isNucleus {
            value += -0.15 + 0.09 * line(6) + 0.03 * line(4)
          } else {
            value += 0.055 * line(4) + 0.045 * line(5)
            if place.depth > 3.5 && place.nucleusDepth < -2 {
              value -= organelles.darkness(left + column, top + row)
            }
          }
          // The envelope of the nucleus, then the membrane.
          value -= 0.16 * exp(-place.nucleusDepth * place.nucleusDepth / 1.4)
          let contrast = min(max(0.34 + 0.1 * line(3), 0.1), 0.5)
          value -= contrast * exp(-place.depth * place.depth / 5)
          value *= 1 + 0.13 * line(2)
          brightness[row * columns + column] = value
          let (x, y) = (column - margin, row - margin)
          if x >= 0, y >= 0, x < columns - 2 * margin, y < rows - 2 * margin {
            indices[y * (columns - 2 * margin) + x] =
              place.depth < 1.9 ? 1 : isNucleus ? 2 : 0
          }
        }
      }
    }
  }
}

/// Small dark bodies of the cytoplasm, some long, which are no membranes though they look alike.
private struct Organelles {
  let spacing: Float
  let key: UInt32

  /// How much darker they make a pixel.
  func darkness(_ x: Int, _ y: Int) -> Float {
    let column = Int((Float(x) / spacing).rounded(.down))
    let row = Int((Float(y) / spacing).rounded(.down))
    var most: Float = 0
    for j in row - 1...row + 1 {
      for i in column - 1...column + 1 {
        let kind = hashed(i, j, key: key)
        guard uniform(kind.0) < 0.38 else { continue }
        let place = hashed(i, j, key: key &+ 1)
        let dx = Float(x) - (Float(i) + uniform(place.0)) * spacing
        let dy = Float(y) - (Float(j) + uniform(place.1)) * spacing
        guard dx * dx + dy * dy < 80 else { continue }
        let angle = uniform(kind.1) * .pi
        let size = 1.4 + 1.6 * uniform(kind.0 &* 2_654_435_761)
        let long = 1 + 1.4 * uniform(kind.1 &* 2_654_435_761)
        let along = (cos(angle) * dx + sin(angle) * dy) / (size * long)
        let across = (cos(angle) * dy - sin(angle) * dx) / size
        let distance = (along * along + across * across).squareRoot()
        // A rim darker than the inside.
        let rim = exp(-(distance - 1) * (distance - 1) * 5)
        most = max(most, distance < 1 ? max(0.14, 0.3 * rim) : 0.3 * rim)
      }
    }
    return most
  }
}
